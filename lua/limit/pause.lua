#!lua flags=allow-oom
-- pause: a provider does not accept the host. It is left alone, longer each time.
--
-- KEYS[1]  pause     HASH    {xx}:pause:<connector>
-- KEYS[2]  outbox    STREAM  {xx}:outbox
-- KEYS[3]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  reason    sanitised, at most 200 characters
-- ARGV[3]  first     ms of the first pause; the next are twice as long each
-- ARGV[4]  longest   ms of a pause at the most
-- ARGV[5]  kept      ms after its end that a pause without an answer is remembered
-- ARGV[6]  connector slug, for the events
-- ARGV[7]  actor     whose call failed, for the events
-- ARGV[8]  host      the provider's, for the events; may be empty
--
-- Returns  {"paused", request, ms}   from now on; also on a retry
--          {"again", request, ms}    it was, and what was asked after it failed too; also on a retry
--          {"still", request, ms}    it is: this is the answer to a call from before
--
-- Why Lua: many calls fail at once, and one of them is the transition.
local pause = KEYS[1]
local request, reason = ARGV[1], ARGV[2]
local first, longest, kept = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local connector = ARGV[6]
-- include: event/note

local function number(text, digits)
  return text and #text <= digits and text:match('^%d+$') and tonumber(text) or 0
end
local was = redis.call('HMGET', pause, 'until_at', 'times', 'by')
local note = teller(KEYS[2], KEYS[3], ARGV[7], ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local times, left = number(was[2], 4), number(was[1], 15) - now
-- No pause is that long: the clock of Redis has jumped back.
if left > longest then left = 0 end
if left > 0 and was[3] == request then
  if times > 1 then return {'again', request, left} end
  return {'paused', request, left}
end
if left > 0 then return {'still', request, left} end

times = was[1] and math.min(times + 1, 1000) or 1
local life = math.min(longest, first * 2 ^ (times - 1))
local stamp = string.format('%d', now)
local ends = string.format('%d', now + life)
must_be_allowed('HDEL', pause)
must_be_allowed('PEXPIRE', pause)
redis.call('HSET', pause, 'until_at', ends, 'times', times, 'by', request, 'reason', reason)
if times == 1 then
  redis.call('HSET', pause, 'since_at', stamp)
  note('connector_paused', {'connector', connector, connector, ''}, stamp,
    words('until', ends, 'reason', reason))
end
redis.call('HDEL', pause, 'probe', 'probe_ends_at', 'resumed')
redis.call('PEXPIRE', pause, life + kept)
if times > 1 then return {'again', request, life} end
return {'paused', request, life}
