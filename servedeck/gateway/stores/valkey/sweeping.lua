-- Continues functions.lua, in the same library: what time does to tasks.

local function until_now(key, now, limit)
  return call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, limit)
end

local function delete(p, id)
  local t = p .. 't:' .. id
  local h = call('HMGET', t, 's', 'ik', 'qo', 'ro', 'n')
  call('UNLINK', t, p .. 'q:' .. id, p .. 'r:' .. id, p .. 'a:' .. id, p .. 'c:' .. id, p .. 'o:' .. id)
  call('ZREM', p .. 'exp', id)
  call('ZREM', p .. 'cb', id)
  if h[1] then call('ZREM', p .. 's:' .. h[1], id) end
  if h[2] then call('DEL', p .. 'i:' .. h[2]) end
  for k = 3, 4 do
    if h[k] then call('RPUSH', p .. 'gone', h[k]) end
  end
  event(p, id, '-', h[5] or 0)
end

-- Whether a task has the object: a later attempt may have stored under the same name.
local function is_needed(p, object)
  local h = task(p, string.match(object, '^[^/]*'), 'qo', 'ro')
  return h[1] == object or h[2] == object
end

-- ARGV: limit, keep. One kind of work each, so that others are served in between.
local function sweep_due(keys, argv)
  local p, now = keys[1], clock()
  local ids = until_now(p .. 'delay', now, argv[1])
  for _, id in ipairs(ids) do
    call('ZREM', p .. 'delay', id)
    unset(p, id, 'nx')
    call('ZADD', p .. 'ready', task(p, id, 'f')[1], id)
  end
  return #ids
end

-- How many, and how many of them had no attempt left.
local function sweep_lapsed(keys, argv)
  local p, now, exhausted = keys[1], clock(), 0
  local ids = until_now(p .. 'lease', now, argv[1])
  for _, id in ipairs(ids) do
    local h = task(p, id, 'u', 'm')
    add_open_attempt(p, id, now, LAPSED)
    if tonumber(h[1]) >= tonumber(h[2]) then
      end_task(p, id, 'R', 'F', 'exhausted', LAPSED, now, tonumber(argv[2]))
      exhausted = exhausted + 1
    else
      give_back(p, id, 0, LAPSED, now)
    end
  end
  return {#ids, exhausted}
end

local function sweep_expired(keys, argv)
  local p, now = keys[1], clock()
  if call('HGET', p .. 'ctl', 'keep') ~= argv[2] then call('HSET', p .. 'ctl', 'keep', argv[2]) end
  local ids = until_now(p .. 'dead', now, argv[1])
  for _, id in ipairs(ids) do
    local state = task(p, id, 's')[1]
    if state == 'R' then add_open_attempt(p, id, now, EXPIRED) end
    end_task(p, id, state, 'F', 'expired', EXPIRED, now, tonumber(argv[2]))
  end
  return #ids
end

local REST = {'ctl', 'ev', 'gone', 'run', 'w', 'ws'}

-- What is not of one task, for so long; nil for ever.
local function keep_rest(p, kept)
  for _, name in ipairs(REST) do
    if kept then call('PEXPIRE', p .. name, kept) else call('PERSIST', p .. name) end
  end
end

-- Deletes, and keeps the house: owners that are up to date, workers, the depth of the minute. How
-- many, objects of deleted tasks, and tasks that claims have ended as expired and as lost.
local function sweep_deleted(keys, argv)
  local p, now = keys[1], clock()
  local ids = until_now(p .. 'exp', now, argv[1])
  for _, id in ipairs(ids) do delete(p, id) end
  local objects = {}
  for _, name in ipairs(call('LPOP', p .. 'gone', argv[1]) or {}) do
    if not is_needed(p, name) then objects[#objects + 1] = name end
  end
  local present = call('HGET', p .. 'ctl', 'vt')
  if present then
    local owners = call('ZRANGEBYSCORE', p .. 'fin', '-inf', present, 'LIMIT', 0, argv[1])
    if owners[1] then call('ZREM', p .. 'fin', unpack(owners)) end
  end
  for _, name in ipairs(until_now(p .. 'ws', now, argv[1])) do
    call('ZREM', p .. 'ws', name)
    call('HDEL', p .. 'w', name)
  end
  local minute = p .. 'm:' .. text(math.floor(now / 60000))
  call('HSET', minute, 'D', call('ZCARD', p .. 's:P'))
  call('PEXPIRE', minute, 7200000)
  -- see expire_rest: it begins anew as long as a process sweeps
  if call('PTTL', p .. 'ctl') > 0 then keep_rest(p, REST_KEPT) end
  local met = call('HMGET', p .. 'ctl', 'mexp', 'mlost')
  if met[1] or met[2] then call('HDEL', p .. 'ctl', 'mexp', 'mlost') end
  return {#ids, objects, tonumber(met[1] or '0'), tonumber(met[2] or '0')}
end
