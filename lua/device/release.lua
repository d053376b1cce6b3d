#!lua flags=allow-oom
-- release: a turn to poll is over; when the next is due, and how far apart polls are from now on.
--
-- KEYS[1]  lease     HASH    {xx}:lease:<pending id>
-- ARGV[1]  request   32 hex, the holder
-- ARGV[2]  next      ms until the next poll is due
-- ARGV[3]  interval  ms between polls; it only grows
-- ARGV[4]  failures  polls in a row that brought no answer
--
-- Returns  {"released", request, ms}  when the next is due; also on a retry
--          {"lost", request}          another's turn, or nobody's; a longer interval counts all the
--                                     same
--
-- Why Lua: a turn that was lost meanwhile must not be ended for whoever has it.
local lease = KEYS[1]
local request, next_in, interval, failures = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
-- include: rights/must

local was = redis.call('HMGET', lease, 'holder', 'released', 'interval', 'next_at')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if was[2] == request then
  return {'released', request, math.max(0, (tonumber(was[4]) or 0) - now)}
end
-- What is damaged is as good as not there.
local before = was[3] and #was[3] <= 12 and was[3]:match('^%d+$')
interval = math.max(interval, tonumber(before) or 0)
if was[1] ~= request then
  -- Only if the record is there: it must not come back without an end.
  if was[3] then redis.call('HSET', lease, 'interval', interval) end
  return {'lost', request}
end
-- With the receipt a retry takes the rest for done.
must_be_allowed('HDEL', lease)
-- No later than the record ends, by its pending.
local left = redis.call('PTTL', lease)
if left > 0 then next_in = math.min(next_in, left) end
redis.call('HSET', lease, 'next_at', string.format('%d', now + next_in),
  'next_in', string.format('%d', next_in), 'interval', interval, 'failures', failures,
  'released', request)
redis.call('HDEL', lease, 'holder', 'holder_by', 'lease_ends_at', 'inherited')
return {'released', request, next_in}
