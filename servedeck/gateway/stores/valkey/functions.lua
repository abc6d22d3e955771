#!lua name=$LIBRARY
-- The queue of one serving. KEYS[1] is the prefix of all its keys, "{namespace/name}:", so that they
-- are in one slot of a cluster. Times are milliseconds of this server's clock.
--
--   t:<id>   HASH    the task; short field names, as each task has them (see TASK in records.py)
--   q:<id>   STRING  the request: head and body      r:<id>  STRING  the response
--   c:<id>   STRING  encrypted credentials           a:<id>  STRING  attempts that have ended
--   o:<id>   STREAM  parts of a streamed response, with ids attempt-number
--   i:<key>  STRING  idempotency key: id and fingerprint of its task
--   s:<state> ZSET   ids by state, of score 0: they sort by age
--   ready    ZSET    by virtual finish time          delay   ZSET    by the time of the next attempt
--   lease    ZSET    by the end of the lease         dead    ZSET    open tasks by deadline
--   exp      ZSET    ended tasks by their deletion   cb      ZSET    callbacks by when they are due
--   run      HASH    tasks in progress by Pod        ctl     HASH    what operators set, clocks
--   fin      ZSET    urgency and owner by its last virtual finish time
--   ev       STREAM  the feed                        m:<minute>  HASH  counts
--   w, ws    HASH, ZSET  what workers say, and until when     gone  LIST  objects without a task

local function call(...) return redis.call(...) end  -- not there yet while this is loaded
-- connection.py replaces the names between dollar signs, and appends sweeping.lua and operations.lua.
local FEED_KEPT, ATTEMPTS_KEPT = $FEED_KEPT$, $ATTEMPTS_KEPT$
local OUTPUT_KEPT, OWNERS_KEPT, REST_KEPT = $OUTPUT_KEPT$, 86400000, 86400000
local OVERDUE_AT_ONCE = 200
local EXPIRED, LAPSED, CANCELLED = '$EXPIRED$', '$LOST$', '$CANCELLED$'
local NO_CREDENTIALS = '$NO_CREDENTIALS$'
local UNHEARD, CLOSED = '$UNHEARD$', '$CLOSED$'
local UNREADABLE = 'Its request is no longer stored.'

local function clock()
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number) return string.format('%.0f', number) end

local function event(p, id, state, attempt)
  call('XADD', p .. 'ev', 'MAXLEN', '~', FEED_KEPT, '*', 'i', id, 's', state, 'n', attempt)
end

local function count(p, now, field)
  local key = p .. 'm:' .. text(math.floor(now / 60000))
  if call('HINCRBY', key, field, 1) == 1 then call('PEXPIRE', key, 7200000) end
end

local function task(p, id, ...) return call('HMGET', p .. 't:' .. id, ...) end

local function set(p, id, ...) call('HSET', p .. 't:' .. id, ...) end

local function unset(p, id, ...) call('HDEL', p .. 't:' .. id, ...) end

-- The virtual finish time of a new task; see TaskStore.claim.
local function virtual_finish(p, owner, urgency)
  local member = urgency .. owner
  local last = tonumber(call('ZSCORE', p .. 'fin', member) or '0')
  local present = tonumber(call('HGET', p .. 'ctl', 'vt') or '0')
  local finish = math.max(last, present) + 2 ^ tonumber(urgency)
  call('ZADD', p .. 'fin', finish, member)
  call('PEXPIRE', p .. 'fin', OWNERS_KEPT)
  return finish
end

local function leave_pod(p, pod)
  if call('HINCRBY', p .. 'run', pod, -1) <= 0 then call('HDEL', p .. 'run', pod) end
end

-- Out of what a pending or running task is listed in.
local function leave_open(p, id, state)
  call('ZREM', p .. 's:' .. state, id)
  if state == 'R' then
    call('ZREM', p .. 'lease', id)
    leave_pod(p, task(p, id, 'pd')[1] or '')
  else
    call('ZREM', p .. 'ready', id)
    call('ZREM', p .. 'delay', id)
  end
end

-- Tells those who follow the parts of an attempt that no more come.
local function end_outputs(p, id, attempt)
  local key = p .. 'o:' .. id
  if call('EXISTS', key) == 1 or task(p, id, 'sr')[1] then
    call('XADD', key, attempt .. '-*', 'e', '1')
    call('PEXPIRE', key, OUTPUT_KEPT)
  end
end

-- Lines of JSON: a list would take 120 bytes more of each task.
local function add_attempt(p, id, record)
  local key = p .. 'a:' .. id
  if call('APPEND', key, record .. '\n') < ATTEMPTS_KEPT * 80 then return end
  local lines = {}
  for line in string.gmatch(call('GET', key), '[^\n]+') do lines[#lines + 1] = line end
  if #lines > ATTEMPTS_KEPT then
    local last = table.concat(lines, '\n', #lines - ATTEMPTS_KEPT + 1)
    call('SET', key, last .. '\n')
  end
end

-- The record of an attempt whose worker did not give one.
local function add_open_attempt(p, id, now, message, more)
  local h = task(p, id, 'n', 'pd', 'w', 'st')
  add_attempt(p, id, string.format(
    '{"attempt":%s,"pod":%s,"worker":%s,"began":%.3f,"ended":%.3f,"message":%s%s}',
    h[1], cjson.encode(h[2] or ''), cjson.encode(h[3] or ''),
    tonumber(h[4] or now) / 1000, now / 1000, cjson.encode(message), more or ''))
end

local function end_task(p, id, from, to, reason, message, now, keep)
  local h = task(p, id, 'n', 'cb')
  leave_open(p, id, from)
  call('ZREM', p .. 'dead', id)
  call('ZADD', p .. 's:' .. to, 0, id)
  call('ZADD', p .. 'exp', now + keep, id)
  set(p, id, 's', to, 'en', now, 'ex', now + keep)
  if reason ~= '' then set(p, id, 'y', reason) end
  if message ~= '' then set(p, id, 'g', message) else unset(p, id, 'g') end
  unset(p, id, 'nx', 'w')
  -- no attempt ended with it, and the time since the last one began is not how long that ran
  if from == 'P' then unset(p, id, 'st') end
  call('UNLINK', p .. 'c:' .. id)
  if h[2] then
    set(p, id, 'ct', 0)
    call('ZADD', p .. 'cb', now, id)
  end
  count(p, now, to)
  event(p, id, to, h[1])
  end_outputs(p, id, h[1])
end

-- From Processing to Pending; a delay of 0 makes it claimable now.
local function give_back(p, id, delay, message, now)
  local h = task(p, id, 'n', 'f')
  leave_open(p, id, 'R')
  call('ZADD', p .. 's:P', 0, id)
  set(p, id, 's', 'P', 'g', message)
  if delay > 0 then
    set(p, id, 'nx', now + delay)
    call('ZADD', p .. 'delay', now + delay, id)
  else
    call('ZADD', p .. 'ready', h[2], id)
  end
  event(p, id, 'P', h[1])
  end_outputs(p, id, h[1])
end

local function is_present(p, id, attempt)
  local h = task(p, id, 's', 'n')
  return h[1] == 'R' and h[2] == attempt
end

-- -- accepting --------------------------------------------------------------------------------

-- ARGV: number of fields of a task, then for each task: id, max depth, idempotency key,
-- fingerprint, owner, urgency, lifetime, request, credentials, then names and values of fields.
local SUBMIT_FIXED = 9

local function submit_one(p, now, argv, at, size, closed)
  local id, max_depth, key, fingerprint = argv[at], tonumber(argv[at + 1]), argv[at + 2], argv[at + 3]
  local t = p .. 't:' .. id
  if call('EXISTS', t) == 1 then return {'repeated', id, call('ZRANK', p .. 'ready', id)} end
  if key ~= '' then
    local stored = call('GET', p .. 'i:' .. key)
    if stored then
      local first, print = string.match(stored, '^(%S+) (.*)$')
      return {print == fingerprint and 'repeated' or 'conflict', first}
    end
  end
  if closed then return {'closed', id} end
  if call('ZCARD', p .. 's:P') >= max_depth then return {'full', id} end
  local owner, urgency, credentials = argv[at + 4], argv[at + 5], argv[at + 8]
  local deadline = now + tonumber(argv[at + 6])
  local finish = virtual_finish(p, owner, urgency)
  call('HSET', t, 's', 'P', 'n', 0, 'u', 0, 'f', text(finish), 'at', now, 'dl', deadline,
    unpack(argv, at + SUBMIT_FIXED, at + size - 1))
  call('SET', p .. 'q:' .. id, argv[at + 7])
  if credentials ~= '' then call('SET', p .. 'c:' .. id, credentials) end
  if key ~= '' then call('SET', p .. 'i:' .. key, id .. ' ' .. fingerprint) end
  call('ZADD', p .. 's:P', 0, id)
  call('ZADD', p .. 'dead', deadline, id)
  call('ZADD', p .. 'ready', finish, id)
  count(p, now, 'S')
  event(p, id, 'P', 0)
  return {'accepted', id, call('ZRANK', p .. 'ready', id)}
end

local function submit(keys, argv)
  local now, at, results = clock(), 1, {}
  local closed = call('HGET', keys[1] .. 'ctl', 'closed')
  while at <= #argv do
    local size = tonumber(argv[at])
    results[#results + 1] = submit_one(keys[1], now, argv, at + 1, size, closed)
    at = at + 1 + size
  end
  return results
end

-- -- delivering -------------------------------------------------------------------------------

-- ARGV: worker, limit, concurrency, concurrency of a Pod, lease, Pod...
local function claim(keys, argv)
  local p, now, claimed, overdue = keys[1], clock(), {}, 0
  local control = call('HMGET', p .. 'ctl', 'paused', 'conc', 'podconc', 'keep')
  if control[1] == '1' then return claimed end
  local limit, keep = tonumber(argv[2]), tonumber(control[4] or $DEFAULT_KEEP$)
  local concurrency = tonumber(control[2] or argv[3])
  local pod_concurrency = tonumber(control[3] or argv[4])
  local total = call('ZCARD', p .. 's:R')
  local running, counts = {}, call('HGETALL', p .. 'run')
  for k = 1, #counts, 2 do running[counts[k]] = tonumber(counts[k + 1]) end
  while #claimed < limit and (concurrency == 0 or total < concurrency)
      and overdue < OVERDUE_AT_ONCE do
    local pod, least = nil, pod_concurrency
    for k = 6, #argv do
      local here = running[argv[k]] or 0
      if here < least then pod, least = argv[k], here end
    end
    local first = call('ZRANGE', p .. 'ready', 0, 0, 'WITHSCORES')
    if not pod or not first[1] then break end
    local id = first[1]
    local h = task(p, id, 'dl', 'n', 'u', 'm', 'sr')
    if not h[1] then
      call('ZREM', p .. 'ready', id)
    elseif tonumber(h[1]) <= now then
      overdue = overdue + 1
      end_task(p, id, 'P', 'F', 'expired', EXPIRED, now, keep)
      call('HINCRBY', p .. 'ctl', 'mexp', 1)  -- told by the next sweep, which counts it
    elseif call('EXISTS', p .. 'q:' .. id) == 0 then
      end_task(p, id, 'P', 'F', 'lost', UNREADABLE, now, keep)
      call('HINCRBY', p .. 'ctl', 'mlost', 1)
    else
      local present = tonumber(call('HGET', p .. 'ctl', 'vt') or '0')
      if tonumber(first[2]) > present then call('HSET', p .. 'ctl', 'vt', first[2]) end
      local attempt, used = tonumber(h[2]) + 1, tonumber(h[3]) + 1
      leave_open(p, id, 'P')
      set(p, id, 's', 'R', 'n', attempt, 'u', used, 'st', now, 'pd', pod, 'w', argv[1])
      unset(p, id, 'nx')
      call('ZADD', p .. 's:R', 0, id)
      call('ZADD', p .. 'lease', now + tonumber(argv[5]), id)
      call('HINCRBY', p .. 'run', pod, 1)
      call('UNLINK', p .. 'o:' .. id)
      running[pod] = (running[pod] or 0) + 1
      total = total + 1
      event(p, id, 'R', attempt)
      claimed[#claimed + 1] = {id, attempt, pod, call('GET', p .. 'q:' .. id),
        call('GET', p .. 'c:' .. id) or '', tonumber(h[1]) - now,
        tonumber(h[4]) - used}
    end
  end
  return claimed
end

-- ARGV: lease, then id and attempt of each
local function beat(keys, argv)
  local p, lost, expiry = keys[1], {}, clock() + tonumber(argv[1])
  for k = 2, #argv, 2 do
    if is_present(p, argv[k], argv[k + 1]) then
      call('ZADD', p .. 'lease', 'XX', expiry, argv[k])
    else
      lost[#lost + 1] = argv[k]
    end
  end
  return lost
end

-- ARGV: worker, age, then id and attempt of each that it has
local function release(keys, argv)
  local p, now, held, released = keys[1], clock(), {}, 0
  for k = 3, #argv, 2 do held[argv[k] .. argv[k + 1]] = true end
  for _, id in ipairs(call('ZRANGE', p .. 's:R', 0, -1)) do
    local h = task(p, id, 'w', 'n', 'st')
    if h[1] == argv[1] and tonumber(h[3]) < now - tonumber(argv[2]) and not held[id .. h[2]] then
      add_open_attempt(p, id, now, UNHEARD, ',"is_counted":false')
      call('HINCRBY', p .. 't:' .. id, 'u', -1)
      give_back(p, id, 0, UNHEARD, now)
      released = released + 1
    end
  end
  return released
end

-- ARGV, for each: id, attempt, state, reason, message, keep, record, response ("" for none),
-- status, size and object of the response, tokens of the request and of the response
local function finish(keys, argv)
  local p, now, results = keys[1], clock(), {}
  for k = 1, #argv, 13 do
    local id = argv[k]
    if is_present(p, id, argv[k + 1]) then
      add_attempt(p, id, argv[k + 6])
      if argv[k + 7] ~= '' then call('SET', p .. 'r:' .. id, argv[k + 7]) end
      if argv[k + 8] ~= '' then set(p, id, 'hs', argv[k + 8]) end
      if argv[k + 9] ~= '0' then set(p, id, 'rz', argv[k + 9]) end
      if argv[k + 10] ~= '' then set(p, id, 'ro', argv[k + 10]) end
      if argv[k + 11] ~= '' then set(p, id, 'ti', argv[k + 11]) end
      if argv[k + 12] ~= '' then set(p, id, 'to', argv[k + 12]) end
      end_task(p, id, 'R', argv[k + 2], argv[k + 3], argv[k + 4], now, tonumber(argv[k + 5]))
      results[#results + 1] = 1
    else
      results[#results + 1] = 0
    end
  end
  return results
end

-- ARGV: id, attempt, delay, record, message, whether it counts
local function retry(keys, argv)
  local p, id = keys[1], argv[1]
  if not is_present(p, id, argv[2]) then return 0 end
  add_attempt(p, id, argv[4])
  if argv[6] == '0' then call('HINCRBY', p .. 't:' .. id, 'u', -1) end
  give_back(p, id, tonumber(argv[3]), argv[5], clock())
  return 1
end

-- ARGV: id, attempt, data
local function output(keys, argv)
  if not is_present(keys[1], argv[1], argv[2]) then return 0 end
  call('XADD', keys[1] .. 'o:' .. argv[1], argv[2] .. '-*', 'd', argv[3])
  return 1
end

-- ARGV: name, status, time to live; 0 removes it
local function report(keys, argv)
  local p, name, ttl = keys[1], argv[1], tonumber(argv[3])
  if ttl <= 0 then
    call('ZREM', p .. 'ws', name)
    call('HDEL', p .. 'w', name)
  else
    call('ZADD', p .. 'ws', clock() + ttl, name)
    call('HSET', p .. 'w', name, argv[2])
  end
  return 1
end
