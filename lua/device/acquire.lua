#!lua
-- acquire: the turn to poll a provider for a pending, if a poll is due and nobody has it.
--
-- KEYS[1]  lease     HASH    {xx}:lease:<pending id>
-- KEYS[2]  record    STRING  {xx}:pending:<id>
-- ARGV[1]  request   32 hex, digest of the request id; becomes the holder
-- ARGV[2]  hold      ms the poll may take
-- ARGV[3]  apart     ms between polls at the least
-- ARGV[4]  grace     ms a tombstone lives
-- ARGV[5]  instance  which replica, for people
--
-- Returns  {"yours", request, interval, failures, inherited}   also on a retry while it is held;
--                                  inherited: 1 if the turn before was never released
--          {"later", request, ms}  ask again then
--          {"ended", request}      the pending is not live
--
-- Why Lua: whether a poll is due is judged where the turn is taken, or two replicas poll at once.
-- Not allow-oom: on a full Redis nothing new starts.
local lease, record = KEYS[1], KEYS[2]
local request, hold, apart = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local grace, instance = tonumber(ARGV[4]), ARGV[5]

local was = redis.call('HMGET', lease, 'holder', 'lease_ends_at', 'next_at', 'interval', 'failures',
  'inherited', 'next_in')
local state = redis.call('GETRANGE', record, 0, 7)
local life, endless = redis.call('PTTL', record), redis.call('PTTL', lease) == -1
if state ~= 'v1 live ' or life <= grace then return {'ended', request} end

if endless then redis.call('PEXPIRE', lease, life) end -- in case an earlier call could not
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- What is no whole number of a sane size is damaged: as good as not there.
local function number(text, digits)
  return text and #text <= digits and text:match('^%d+$') and tonumber(text)
end
local function set(next_in, ...)
  next_in = math.min(next_in, life)
  redis.call('HSET', lease, 'next_at', string.format('%d', now + next_in),
    'next_in', string.format('%d', next_in), ...)
  redis.call('PEXPIRE', lease, life)
  return next_in
end
local holder, next_at, next_in = was[1], number(was[3], 15), number(was[7], 12)
local interval = math.max(apart, number(was[4], 12) or 0)
local failures = number(was[5], 6) or 0
-- Nothing is known, or the clock of Redis has jumped back: somebody may have polled just now.
if not next_at or next_at - now > (next_in or 0) then
  redis.call('HDEL', lease, 'holder', 'holder_by', 'lease_ends_at')
  return {'later', request, set(next_in or interval, 'interval', interval)}
end

local held = (number(was[2], 15) or 0) > now
if held and holder == request then
  return {'yours', request, interval, failures, number(was[6], 1) or 0}
end
if next_at > now then
  local wait = next_at - now
  -- Who has the turn will most likely say, before it ends, when the next is due.
  if held then wait = math.min(wait, interval) end
  return {'later', request, wait}
end

-- As if the poll came at the very end of its lease: nothing is left to repair if its poller dies.
local inherited = holder and 1 or 0
set(hold + interval, 'holder', request, 'holder_by', instance, 'inherited', inherited,
  'lease_ends_at', string.format('%d', now + hold), 'interval', interval, 'failures', failures)
return {'yours', request, interval, failures, inherited}
