-- Sliding windows: each limit is a list of the times at which it was spent. All limits of a request are
-- spent if every one allows, and none otherwise; or all unconditionally. A call decides about a batch: a
-- group is a number of requests with identical checks, and groups are decided one after the other.
--
-- KEYS: one a limit, group by group. ARGV: the time in microseconds, or nothing for the server's own;
-- then for each group the number of its requests, 1 to spend unconditionally, the microseconds since they
-- were made, and the number of its limits; then for each of those its maximum, its window in microseconds,
-- and 1 to spend it.
-- Returns for each group how many of its requests are allowed, then for each limit its uses before, the
-- microseconds until the oldest use expires, and those until it allows one more.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function at(key, index)
  return tonumber(redis.call('LINDEX', key, index))
end

-- Number of entries from the left no later than `since`, by galloping search: it is mostly none or one.
local function count_old(key, length, since)
  local old, step = 0, 1
  while old + step <= length and at(key, old + step - 1) <= since do
    old = old + step
    step = step * 2
  end
  while step > 1 do
    step = step / 2
    if old + step <= length and at(key, old + step - 1) <= since then
      old = old + step
    end
  end
  return old
end

-- Uses in the window, and the time to store for a use of that age: times are stored in order.
local function uses_of(key, window, age)
  local used = redis.call('LLEN', key)
  if used == 0 then
    return 0, now - age
  end
  -- A clock that was set back stands still until it has caught up, or the window starts anew.
  local newest = at(key, -1)
  if newest > now + window then
    redis.call('DEL', key)
    return 0, now
  end
  local time = math.max(now, newest)
  local old = count_old(key, used, time - window)
  if old > 0 then
    redis.call('LTRIM', key, old, -1)
  end
  return used - old, math.max(now - age, newest)
end

local function spend(key, limit, count)
  -- As text, since each number among the arguments of a call would be formatted again.
  local time, times = string.format('%.0f', limit.time), {}
  for i = 1, count do
    times[i] = time
  end
  local used = redis.call('RPUSH', key, unpack(times))
  if used > limit.max then
    redis.call('LTRIM', key, -limit.max, -1)
    used = limit.max
  end
  redis.call('PEXPIRE', key, math.ceil((limit.time + limit.window - now) / 1000))
  return used
end

-- Time until there is room for one more.
local function wait_for(key, limit, used)
  if used < limit.max then
    return 0
  end
  return at(key, used - limit.max) + limit.window - now
end

local reply, key_at, arg_at = {}, 0, 1
while arg_at < #ARGV do
  local requests, unconditional = tonumber(ARGV[arg_at + 1]), ARGV[arg_at + 2] == '1'
  local age, count = tonumber(ARGV[arg_at + 3]), tonumber(ARGV[arg_at + 4])
  arg_at = arg_at + 4
  local limits, allowed = {}, requests
  for i = 1, count do
    local limit = { max = tonumber(ARGV[arg_at + 1]), window = tonumber(ARGV[arg_at + 2]) }
    limit.spends = ARGV[arg_at + 3] == '1'
    arg_at = arg_at + 3
    -- Older uses would have expired.
    limit.used, limit.time = uses_of(KEYS[key_at + i], limit.window, math.min(age, limit.window - 1000))
    local room = math.max(limit.max - limit.used, 0)
    if limit.spends or room == 0 then
      allowed = math.min(allowed, room)
    end
    limits[i] = limit
  end
  reply[#reply + 1] = allowed
  for i = 1, count do
    local key, limit = KEYS[key_at + i], limits[i]
    local used, wait = limit.used, nil
    -- Unconditional ones are told the state before.
    if unconditional then
      wait = wait_for(key, limit, used)
    end
    local spent = unconditional and requests or allowed
    if limit.spends and spent > 0 then
      used = spend(key, limit, spent)
    end
    local reset = limit.window
    if used > 0 then
      reset = at(key, 0) + limit.window - now
    end
    reply[#reply + 1] = limit.used
    reply[#reply + 1] = reset
    reply[#reply + 1] = wait or wait_for(key, limit, used)
  end
  key_at = key_at + count
end
return reply
