#!lua
-- reserve: a place to call a provider from, unless it is paused or at one of its caps.
--
-- KEYS[1]  places    ZSET    {xx}:places:<connector>, holders by the end of their lease
-- KEYS[2]  limit     ZSET    {xx}:limit:<connector>, `next` and `line`, by time
-- KEYS[3]  pause     HASH    {xx}:pause:<connector>
-- ARGV[1]  request   32 hex, digest of the request id; becomes the holder
-- ARGV[2]  lease     ms a place is held, if nobody releases it
-- ARGV[3]  apart     us between calls; 0: there is no rate
-- ARGV[4]  burst     so many may come at once after a silence
-- ARGV[5]  at_once   so many places; 0: there is no end to them
-- ARGV[6]  usual     us a place is held as a rule
-- ARGV[7]  horizon   ms that the line is long at the most; 0: not to stand in it
--
-- Returns  {"go", request, probe}           the place is yours; also on a retry while it is held;
--                                           probe: 1 if this call shows whether the pause may end
--          {"later", request, ms}           at a cap: ask again then
--          {"paused", request, ms, reason}  not before then
--
-- Why Lua: all replicas count together, or each has a cap of its own.
-- Not allow-oom: on a full Redis nothing new starts.
local places, limit, pause = KEYS[1], KEYS[2], KEYS[3]
local request, lease, apart = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]) / 1000
local burst, at_once, usual = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]) / 1000
local horizon = tonumber(ARGV[7])
-- include: rights/must
-- No lease is longer, and no pause: past them, the clock of Redis has jumped back.
local longest_lease, longest_pause = 300000, 86400000

local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local function at(ms) return string.format('%.3f', ms) end
local function number(text)
  return text and #text <= 15 and text:match('^%d+$') and tonumber(text) or 0
end
local mine = tonumber(redis.call('ZSCORE', places, request)) or 0
local busy = redis.call('ZCOUNT', places, '(' .. at(now), at(now + longest_lease))
local next_at = tonumber(redis.call('ZSCORE', limit, 'next')) or 0
local line_at = tonumber(redis.call('ZSCORE', limit, 'line')) or 0
local was = redis.call('HMGET', pause, 'until_at', 'reason', 'probe', 'probe_ends_at')

local probing = number(was[4]) - now
local probe = was[3] == request and probing > 0
if probe or mine > now then return {'go', request, probe and 1 or 0} end
local wait = number(was[1]) - now
if wait > longest_pause then wait = 0 end
-- One asks first, when a pause is over.
if was[1] and wait <= 0 and probing <= longest_lease then wait = probing end
if was[1] and wait > 0 then return {'paused', request, math.ceil(wait), was[2] or ''} end

-- By `next` the provider will have forgotten all calls so far. It is never further off than this.
next_at = math.max(now, math.min(next_at, now + burst * apart))
wait = math.max(0, next_at - (burst - 1) * apart - now)
local spacing = apart
if at_once > 0 then
  spacing = math.max(apart, usual / at_once)
  if busy >= at_once then wait = math.max(wait, spacing) end
end
must_be_allowed('PEXPIRE', limit)
if wait > 0 then
  -- Who comes a moment early, with nobody before, is not sent to the end of the line.
  if horizon > 0 and wait >= spacing / 2 then
    local from = math.min(math.max(line_at, now + wait), now + horizon)
    -- Closer than calls may be: who comes too soon is told another time, an empty place is lost.
    redis.call('ZADD', limit, at(from + spacing / 2), 'line')
    redis.call('PEXPIRE', limit, math.ceil(horizon + 2 * spacing + burst * apart))
    wait = from - now
  end
  return {'later', request, math.ceil(wait)}
end

must_be_allowed('ZREMRANGEBYSCORE', places)
must_be_allowed('ZADD', places)
must_be_allowed('PEXPIRE', places)
must_be_allowed('HSET', pause)
if apart > 0 then
  redis.call('ZADD', limit, at(next_at + apart), 'next')
  redis.call('PEXPIRE', limit, math.ceil(horizon + 2 * spacing + burst * apart))
end
if apart > 0 or at_once > 0 then
  redis.call('ZREMRANGEBYSCORE', places, '-inf', at(now))
  redis.call('ZREMRANGEBYSCORE', places, '(' .. at(now + longest_lease), '+inf')
  redis.call('ZADD', places, at(now + lease), request)
  redis.call('PEXPIRE', places, lease, 'NX')
  redis.call('PEXPIRE', places, lease, 'GT')
end
if was[1] then
  redis.call('HSET', pause, 'probe', request, 'probe_ends_at', string.format('%d', now + lease))
end
return {'go', request, was[1] and 1 or 0}
