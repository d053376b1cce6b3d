#!lua flags=allow-oom
-- forget: remove the oldest of what is older than an age from the history of a shard.
--
-- KEYS[1]  history   STREAM  {xx}:history
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  age       ms
-- ARGV[3]  most      at most so many entries
--
-- Returns  {"forgotten", request, removed}   fewer than most: those were all
--
-- Why Lua: how old they are is by the clock of Redis, and what one call takes is bounded.
local history, request, age, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- include: event/oldest

local time = redis.call('TIME')
local before = time[1] * 1000 + math.floor(time[2] / 1000) - age
-- Older than time itself.
if before <= 0 then return {'forgotten', request, 0} end
local upto = end_of_oldest(history, string.format('%d-0', before), most)
return {'forgotten', request, redis.call('XTRIM', history, 'MINID', upto)}
