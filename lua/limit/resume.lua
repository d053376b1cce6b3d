#!lua flags=allow-oom
-- resume: a provider that was paused is asked again by everybody.
--
-- KEYS[1]  pause     HASH    {xx}:pause:<connector>
-- KEYS[2]  outbox    STREAM  {xx}:outbox
-- KEYS[3]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  grace     ms the receipt lives
-- ARGV[3]  connector slug, for the events
-- ARGV[4]  actor     who ends the pause, for the events
-- ARGV[5]  host      the provider's, for the events; may be empty
--
-- Returns  {"resumed", request}   also on a retry
--          {"running", request}   it was not paused
--
-- Why Lua: many calls succeed at once, and one of them is the transition.
local pause, request, grace, connector = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
-- include: event/note

local was = redis.call('HMGET', pause, 'until_at', 'resumed', 'reason')
local note = teller(KEYS[2], KEYS[3], ARGV[4], ARGV[5])
if was[2] == request then return {'resumed', request} end
if not was[1] then return {'running', request} end
local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
must_be_allowed('HDEL', pause)
must_be_allowed('PEXPIRE', pause)
redis.call('HSET', pause, 'resumed', request)
note('connector_resumed', {'connector', connector, connector, ''}, stamp, words('reason', was[3]))
redis.call('HDEL', pause, 'until_at', 'times', 'by', 'reason', 'since_at', 'probe', 'probe_ends_at')
redis.call('PEXPIRE', pause, grace)
return {'resumed', request}
