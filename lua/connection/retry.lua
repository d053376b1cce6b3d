#!lua
-- retry: try again at once what backs off after failures, or was given up.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[3]  outbox    STREAM  {xx}:outbox
-- KEYS[4]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  actor     who retries it, for the events
--
-- Returns  {"retried", request}           due now; also on a retry with the same request id
--          {"not_failing", request}       nothing to mend
--          {"inactive", request, status}  it needs its owner, or was withdrawn
--          {"absent", request}
--
-- Why Lua: the record and the index change together, and an exchange that runs is left alone.
-- Not allow-oom: on a full Redis nothing new starts.
local conn, due = KEYS[1], KEYS[2]
local request, id = ARGV[1], ARGV[2]
-- include: event/note

local was = redis.call('HMGET', conn, 'status', 'attempts', 'retried', 'lease_ends_at', 'owner',
  'connector')
redis.call('ZSCORE', due, id)
local note = teller(KEYS[3], KEYS[4], ARGV[3], '')
if not was[1] then return {'absent', request} end
if was[3] == request then return {'retried', request} end
if was[1] ~= 'active' and was[1] ~= 'exhausted' then return {'inactive', request, was[1]} end
if was[1] == 'active' and (tonumber(was[2]) or 0) == 0 then return {'not_failing', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)
must_be_allowed('HDEL', conn)
-- One that runs has its own end there.
if (tonumber(was[4]) or 0) <= now then redis.call('ZADD', due, stamp, id) end
redis.call('HSET', conn, 'status', 'active', 'status_at', stamp, 'attempts', 0, 'next_at', stamp,
  'retried', request, 'updated_at', stamp)
if was[1] == 'exhausted' then
  note('recovered', {'connection', id, was[6] or '', was[5] or ''}, stamp,
    words('from', 'exhausted', 'reason', 'retried'))
end
redis.call('HDEL', conn, 'reason', 'failing_at')
return {'retried', request}
