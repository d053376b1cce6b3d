#!lua flags=allow-oom
-- end: give a shard's turn of a sweep back, with how far it came and what it did.
--
-- KEYS[1]  pass      HASH  {xx}:sweep:<name>
-- ARGV[1]  request   32 hex, the holder
-- ARGV[2]  more      1: the round goes on at the cursor; 0: it is over
-- ARGV[3]  cursor    where it goes on
-- ARGV[4]  found     how many there were
-- ARGV[5]  done      with how many something was done
--
-- Returns  {"ended", request}   also on a retry
--          {"lost", request}    another holder's by now, or forgotten: its own counts stand
--
-- Why Lua: counts and cursor of a turn that somebody else has taken over must not overwrite his.
local pass = KEYS[1]
local request, more, cursor, found, done = ARGV[1], ARGV[2] == '1', ARGV[3], ARGV[4], ARGV[5]
-- include: rights/must

local was = redis.call('HMGET', pass, 'holder', 'found', 'done', 'ended')
if was[4] == request then return {'ended', request} end
if was[1] ~= request then return {'lost', request} end
local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
-- Not HINCRBY: it could fail on what it finds.
local set = {'found', (tonumber(was[2]) or 0) + found, 'done', (tonumber(was[3]) or 0) + done,
  'ended', request, more and 'cursor' or 'last_at', more and cursor or stamp}
must_be_allowed('HDEL', pass)
redis.call('HSET', pass, unpack(set)) -- 8
local drop = {'holder', 'lease_ends_at'}
if not more then drop[3] = 'cursor' end
redis.call('HDEL', pass, unpack(drop)) -- at most 3
return {'ended', request}
