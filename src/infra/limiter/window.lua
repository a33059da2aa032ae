-- Decides about several limits at once: each is a list of the times at which it was spent. All of
-- them are spent if every one allows, and none otherwise; or all in any case, when that is asked.
--
-- KEYS: one a limit. ARGV: the time in microseconds, or nothing for the server's own; 1 to spend in
-- any case; then for each limit its maximum, its window in microseconds, and 1 to spend it.
-- Answers 1 if allowed, then for each limit how much of it is used, and in how many microseconds the
-- oldest use is forgotten, and until it allows again.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local forced = ARGV[2] == '1'

local function at(key, index)
  return tonumber(redis.call('LINDEX', key, index))
end

-- How many entries from the left are no later than `since`, found in steps that double, since it is
-- mostly none or one.
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

local limits, allowed = {}, true
for i, key in ipairs(KEYS) do
  local max, window = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local used, time = redis.call('LLEN', key), now
  if used > 0 then
    -- A clock that was set back stands still here until it has caught up, or starts anew.
    local newest = at(key, -1)
    if newest > now + window then
      redis.call('DEL', key)
      used = 0
    else
      time = math.max(now, newest)
      local old = count_old(key, used, time - window)
      if old > 0 then
        redis.call('LTRIM', key, old, -1)
        used = used - old
      end
    end
  end
  local wait = 0
  if used >= max then
    wait = at(key, used - max) + window - now
    allowed = false
  end
  limits[i] = { used = used, time = time, max = max, window = window, wait = wait }
end

local reply = { allowed and 1 or 0 }
for i, key in ipairs(KEYS) do
  local limit = limits[i]
  if (allowed or forced) and ARGV[3 * i + 2] == '1' then
    limit.used = redis.call('RPUSH', key, limit.time)
    redis.call('PEXPIRE', key, math.ceil((limit.time + limit.window - now) / 1000))
    if limit.used > limit.max then
      redis.call('LTRIM', key, -limit.max, -1)
      limit.used = limit.max
    end
  end
  local reset = limit.window
  if limit.used > 0 then
    reset = at(key, 0) + limit.window - now
  end
  reply[#reply + 1] = limit.used
  reply[#reply + 1] = reset
  reply[#reply + 1] = limit.wait
end
return reply
