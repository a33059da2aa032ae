-- Registers a process until it expires, and removes those that have expired.
--
-- KEYS: the sorted set. ARGV: id of the process, and milliseconds until it expires; 0 removes it.
-- Returns the number of processes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expiry = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + expiry), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if expiry > 0 then
  redis.call('PEXPIRE', KEYS[1], expiry)
end
return redis.call('ZCARD', KEYS[1])
