#!lua flags=allow-oom
-- begin: take a shard's turn of a sweep, unless somebody has it or it was swept a moment ago.
--
-- KEYS[1]  pass      HASH  {xx}:sweep:<name>
-- ARGV[1]  request   32 hex, digest of the request id; becomes the holder
-- ARGV[2]  lease     ms until others may take over
-- ARGV[3]  within    ms after the end of one round that nobody begins the next; 0: at once
-- ARGV[4]  keep      ms that is known of it when it was swept
--
-- Returns  {"begun", request, cursor}   where the one before ended; empty: from the beginning
--          {"held", request, ms}        another holder's for so long
--          {"recent", request, ms}      the next round may begin in so long
--
-- Why Lua: looking whose turn it is and taking it must be one step, or two replicas sweep alike.
local pass = KEYS[1]
local request, lease, within, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
-- include: rights/must

local was = redis.call('HMGET', pass, 'holder', 'lease_ends_at', 'cursor', 'last_at')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leased = (tonumber(was[2]) or 0) - now
-- No lease is that long: the clock of Redis has jumped back.
if leased > 3600000 then leased = 0 end
if leased > 0 and was[1] == request then return {'begun', request, was[3] or ''} end
if leased > 0 then return {'held', request, leased} end
-- A round that was not ended goes on at once. An end in the future is a clock's that has jumped.
local ended = now - (tonumber(was[4]) or 0)
if not was[3] and was[4] and ended >= 0 and ended < within then
  return {'recent', request, within - ended}
end

local set = {'holder', request, 'lease_ends_at', string.format('%d', now + lease)}
if not was[3] then
  -- The counts are a round's.
  for _, new in ipairs({'cursor', '', 'found', 0, 'done', 0}) do set[#set + 1] = new end
end
must_be_allowed('PEXPIRE', pass)
redis.call('HSET', pass, unpack(set)) -- at most 10
redis.call('PEXPIRE', pass, keep)
return {'begun', request, was[3] or ''}
