-- Continues sweeping.lua, in the same library: what is asked for seldom, and what only reads.

-- -- callbacks --------------------------------------------------------------------------------

-- ARGV: limit, lease
local function claim_callbacks(keys, argv)
  local p, now, claimed = keys[1], clock(), {}
  for _, id in ipairs(until_now(p .. 'cb', now, argv[1])) do
    call('ZADD', p .. 'cb', now + tonumber(argv[2]), id)
    claimed[#claimed + 1] = {id, call('HINCRBY', p .. 't:' .. id, 'ct', 1) - 1}
  end
  return claimed
end

-- ARGV: id, seconds until the next try, "" for none
local function settle_callback(keys, argv)
  local p, id = keys[1], argv[1]
  -- 0 tries: the task ended again after that callback was claimed
  if tonumber(task(p, id, 'ct')[1] or '0') == 0 then return 0 end
  if argv[2] == '' then return call('ZREM', p .. 'cb', id) end
  return call('ZADD', p .. 'cb', 'XX', clock() + tonumber(argv[2]), id)
end

-- -- acting -----------------------------------------------------------------------------------

-- ARGV: id, keep -> whether it changed, the state after it
local function cancel(keys, argv)
  local p, id = keys[1], argv[1]
  local state = task(p, id, 's')[1]
  if state ~= 'P' and state ~= 'R' then return {0, state} end
  local now = clock()
  if state == 'R' then add_open_attempt(p, id, now, CANCELLED) end
  end_task(p, id, state, 'X', '', '', now, tonumber(argv[2]))
  return {1, 'X'}
end

-- ARGV: id, lifetime, whether credentials are given, credentials
local function redrive(keys, argv)
  local p, id = keys[1], argv[1]
  local h = task(p, id, 's', 'hc', 'o', 'p', 'ro', 'n')
  if h[1] ~= 'F' then return {0, h[1], ''} end
  if h[2] and argv[3] == '0' then return {0, 'F', NO_CREDENTIALS} end
  if call('HGET', p .. 'ctl', 'closed') then return {0, 'F', CLOSED} end
  local now = clock()
  local deadline = now + tonumber(argv[2])
  local finish = virtual_finish(p, h[3] or '', h[4])
  call('ZREM', p .. 's:F', id)
  call('ZREM', p .. 'exp', id)
  call('ZREM', p .. 'cb', id)
  call('UNLINK', p .. 'r:' .. id, p .. 'o:' .. id)
  if h[5] then call('RPUSH', p .. 'gone', h[5]) end
  unset(p, id, 'en', 'ex', 'y', 'g', 'hs', 'rz', 'ro', 'nx')
  set(p, id, 's', 'P', 'u', 0, 'f', text(finish), 'dl', deadline)
  if argv[4] ~= '' then call('SET', p .. 'c:' .. id, argv[4]) end
  call('ZADD', p .. 's:P', 0, id)
  call('ZADD', p .. 'dead', deadline, id)
  call('ZADD', p .. 'ready', finish, id)
  event(p, id, 'P', h[6])
  return {1, 'P', ''}
end

local function move_before_all(p, id)
  local h = task(p, id, 's', 'f')
  if h[1] ~= 'P' then return {0, h[1]} end
  local score = h[2]
  local first = call('ZRANGE', p .. 'ready', 0, 1, 'WITHSCORES')
  local at = first[1] == id and 3 or 1  -- the first of the others
  if first[at] then score = text(tonumber(first[at + 1]) - 1) end
  call('ZREM', p .. 'delay', id)
  unset(p, id, 'nx')
  set(p, id, 'f', score)
  call('ZADD', p .. 'ready', score, id)
  return {1, 'P'}
end

-- ARGV: id..., in the order that they have then -> for each, whether it was moved, and its state
local function move_to_front(keys, argv)
  local results = {}
  for k = #argv, 1, -1 do results[k] = move_before_all(keys[1], argv[k]) end
  return results
end

-- ARGV: paused, concurrency, concurrency of a Pod, by whom it is closed; "" for none. Then, if they
-- are to be compared, the present ones.
local function set_control(keys, argv)
  local key, names = keys[1] .. 'ctl', {'paused', 'conc', 'podconc', 'closed'}
  if argv[5] then
    for k, present in ipairs(call('HMGET', key, unpack(names))) do
      if (present or '') ~= argv[#names + k] then return 0 end
    end
  end
  for k, name in ipairs(names) do
    if argv[k] == '' then call('HDEL', key, name) else call('HSET', key, name, argv[k]) end
  end
  if argv[4] == '' then keep_rest(keys[1]) end
  return 1
end

-- ARGV: id
local function forget(keys, argv)
  local p, id = keys[1], argv[1]
  local state = task(p, id, 's')[1]
  if not state or state == 'P' or state == 'R' then return {0, state} end
  delete(p, id)
  return {1, false}
end

-- ARGV: limit
local function unneeded_objects(keys, argv)
  local p, names = keys[1], {}
  while true do
    local found = call('LRANGE', p .. 'gone', 0, tonumber(argv[1]) - 1)
    for _, name in ipairs(found) do
      if is_needed(p, name) then
        call('LREM', p .. 'gone', 1, name)
      else
        names[#names + 1] = name
      end
    end
    if names[1] or not found[1] then return names end
  end
end

-- ARGV: name...
local function drop_objects(keys, argv)
  for _, name in ipairs(argv) do call('LREM', keys[1] .. 'gone', 1, name) end
  return 1
end

local function expire_rest(keys)
  local p = keys[1]
  if not call('HGET', p .. 'ctl', 'closed') then return 0 end
  for _, state in ipairs({'P', 'R', 'C', 'F', 'X'}) do
    if call('EXISTS', p .. 's:' .. state) == 1 then return 0 end
  end
  keep_rest(p, REST_KEPT)
  return 1
end

-- -- reading ----------------------------------------------------------------------------------

-- ARGV: id, field... -> the fields and the head of the request; nil if there is no such task
local function find(keys, argv)
  local p, id = keys[1], argv[1]
  local fields = task(p, id, unpack(argv, 2))
  if not fields[1] then return false end
  local key = p .. 'q:' .. id
  -- 4 bytes of its length, and 12 of other lengths: see pack() in records.py
  local length, head = call('GETRANGE', key, 0, 3), ''
  if #length == 4 then head = call('GETRANGE', key, 16, 15 + struct.unpack('>I4', length)) end
  return {fields, head}
end

local function is_newer(one, other) return one > other end

-- ARGV: letters of the states, the id that the page begins after or "", limit, "1" for the oldest
-- first, field...
local function page(keys, argv)
  local p, ids, after, limit = keys[1], {}, argv[2], argv[3]
  local is_oldest_first = argv[4] == '1'
  for state in string.gmatch(argv[1], '.') do
    local key, found = p .. 's:' .. state, nil
    if is_oldest_first then
      local from = after == '' and '-' or '(' .. after
      found = call('ZRANGE', key, from, '+', 'BYLEX', 'LIMIT', 0, limit)
    else
      local from = after == '' and '+' or '(' .. after
      found = call('ZRANGE', key, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit)
    end
    for _, id in ipairs(found) do ids[#ids + 1] = id end
  end
  if #argv[1] > 1 then
    if is_oldest_first then table.sort(ids) else table.sort(ids, is_newer) end
  end
  local rows = {}
  for k = 1, math.min(#ids, tonumber(limit)) do
    rows[k] = {ids[k], task(p, ids[k], unpack(argv, 5))}
  end
  return rows
end

-- ARGV: number of fields, field..., id... -> for each task that there is, its id and the fields, of
-- which the first is its state
local function find_many(keys, argv)
  local last, rows = 1 + tonumber(argv[1]), {}
  for k = last + 1, #argv do
    local fields = task(keys[1], argv[k], unpack(argv, 2, last))
    if fields[1] then rows[#rows + 1] = {argv[k], fields} end
  end
  return rows
end

local function counts(keys)
  local p, result = keys[1], {}
  for _, state in ipairs({'P', 'R', 'C', 'F', 'X'}) do
    result[#result + 1] = call('ZCARD', p .. 's:' .. state)
  end
  result[6] = call('ZCARD', p .. 'delay')
  return result
end

local function oldest_pending(keys)
  local id = call('ZRANGE', keys[1] .. 's:P', 0, 0)[1]
  return id and task(keys[1], id, 'at')[1]
end

local function minutes(keys)
  local rows, last = {}, math.floor(clock() / 60000)
  for minute = last - 59, last do
    local h = call('HMGET', keys[1] .. 'm:' .. text(minute), 'S', 'C', 'F', 'X', 'D')
    if h[1] or h[2] or h[3] or h[4] or h[5] then rows[#rows + 1] = {minute, h} end
  end
  return rows
end

local function workers(keys)
  local p, rows = keys[1], {}
  local names = call('ZRANGEBYSCORE', p .. 'ws', '(' .. text(clock()), '+inf')
  table.sort(names)
  for _, name in ipairs(names) do rows[#rows + 1] = call('HGET', p .. 'w', name) end
  return rows
end

-- ARGV: id, attempt, after, limit -> attempt, whether it has ended, parts as {number, data}
local function outputs(keys, argv)
  local p, id = keys[1], argv[1]
  local h = task(p, id, 's', 'n')
  if not h[1] then return {0, 1, {}} end
  local from = h[2] == argv[2] and tonumber(argv[3]) or 0
  local limit, parts = tonumber(argv[4]), {}
  -- one more than the limit, which may be the mark of the end
  local found = call('XRANGE', p .. 'o:' .. id, h[2] .. '-' .. text(from), h[2], 'COUNT', limit + 1)
  for _, entry in ipairs(found) do
    if entry[2][1] == 'd' and #parts < limit then
      local number = tonumber(string.match(entry[1], '%-(%d+)$')) + 1
      parts[#parts + 1] = {number, entry[2][2]}
    end
  end
  local ended = h[1] ~= 'R' and not (h[1] == 'P' and h[2] == '0') and #found <= limit
  return {tonumber(h[2]), ended and 1 or 0, parts}
end

-- The last id, the first one, and whether all events that there were are kept.
local function feed_state(p)
  if call('EXISTS', p .. 'ev') == 0 then return '0', nil, true end
  local info, last, first = call('XINFO', 'STREAM', p .. 'ev'), '0', nil
  local length, added = 0, 0
  for k = 1, #info, 2 do
    local name, value = info[k], info[k + 1]
    if name == 'last-generated-id' then last = value
    elseif name == 'first-entry' and value then first = value[1]
    elseif name == 'length' then length = value
    elseif name == 'entries-added' then added = value end
  end
  return last, first, length == added
end

local function feed_end(keys)
  local last = feed_state(keys[1])
  return last
end

local function is_before(one, other)
  local a, b = string.match(one, '^(%d+)%-?(%d*)$')
  local c, d = string.match(other, '^(%d+)%-?(%d*)$')
  a, b, c, d = tonumber(a), tonumber(b) or 0, tonumber(c), tonumber(d) or 0
  return a < c or (a == c and b < d)
end

-- ARGV: cursor, limit -> lines of cursor, id, state and attempt (one text: a table of tables takes
-- three times as long to answer and to read); nil if some after the cursor are missing
local function feed(keys, argv)
  local last, first, is_whole = feed_state(keys[1])
  -- a cursor from the future, or from before the first event of all, is one of a store that has lost
  -- what it had
  local is_start = is_whole and not is_before('0', argv[1])
  if is_before(last, argv[1]) or (first and is_before(argv[1], first) and not is_start) then
    return false
  end
  local found = call('XRANGE', keys[1] .. 'ev', '(' .. argv[1], '+', 'COUNT', argv[2])
  for k = 1, #found do
    local fields = found[k][2]
    found[k] = found[k][1] .. ' ' .. fields[2] .. ' ' .. fields[4] .. ' ' .. fields[6]
  end
  return table.concat(found, '\n')
end

-- Only submit is refused when the memory is full: what was accepted must still be delivered, ended
-- and deleted then. No loops: while this is loaded, Lua's own functions are not there.
local function register(name, callback, ...)
  redis.register_function{function_name = '$LIBRARY_' .. name, callback = callback, flags = {...}}
end

register('submit', submit)
register('claim', claim, 'allow-oom')
register('beat', beat, 'allow-oom')
register('release', release, 'allow-oom')
register('finish', finish, 'allow-oom')
register('retry', retry, 'allow-oom')
register('output', output, 'allow-oom')
register('report', report, 'allow-oom')
register('sweep_due', sweep_due, 'allow-oom')
register('sweep_lapsed', sweep_lapsed, 'allow-oom')
register('sweep_expired', sweep_expired, 'allow-oom')
register('sweep_deleted', sweep_deleted, 'allow-oom')
register('claim_callbacks', claim_callbacks, 'allow-oom')
register('settle_callback', settle_callback, 'allow-oom')
register('cancel', cancel, 'allow-oom')
register('redrive', redrive, 'allow-oom')
register('move_to_front', move_to_front, 'allow-oom')
register('set_control', set_control, 'allow-oom')
register('forget', forget, 'allow-oom')
register('unneeded_objects', unneeded_objects, 'allow-oom')
register('drop_objects', drop_objects, 'allow-oom')
register('expire_rest', expire_rest, 'allow-oom')
register('find', find, 'no-writes', 'allow-oom')
register('page', page, 'no-writes', 'allow-oom')
register('find_many', find_many, 'no-writes', 'allow-oom')
register('counts', counts, 'no-writes', 'allow-oom')
register('oldest_pending', oldest_pending, 'no-writes', 'allow-oom')
register('minutes', minutes, 'no-writes', 'allow-oom')
register('workers', workers, 'no-writes', 'allow-oom')
register('outputs', outputs, 'no-writes', 'allow-oom')
register('feed_end', feed_end, 'no-writes', 'allow-oom')
register('feed', feed, 'no-writes', 'allow-oom')
