#!lua flags=allow-oom
-- remove: a header credential with all that is known of it; receipts stay for a while.
--
-- KEYS[1]  record    HASH  {xx}:headers:<id>
-- KEYS[2]  sealed    ZSET  {xx}:sealed, records by the key that sealed them
-- KEYS[3]  orphans   ZSET  {xx}:orphans, records by when they were orphaned
-- KEYS[4]  outbox    STREAM  {xx}:outbox
-- KEYS[5]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the credential
-- ARGV[3]  retention ms that it must have been an orphan for; empty: remove it whatever it is
-- ARGV[4]  grace     ms the receipts live
--
-- Returns  {"removed", request, digest} of its binding; also on a retry with the same request id
--          {"not_orphaned", request}    it is used again; nothing removed
--          {"too_young", request, ms}   an orphan, for so much longer
--          {"absent", request}          no such credential, or not any more
--
-- Why Lua: whether it is an orphan still, and for how long, is judged where it is removed: one that
-- is restored between a sweep's look and its deletion survives.
local record, sealed, orphans = KEYS[1], KEYS[2], KEYS[3]
local request, id, retention, grace = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
-- include: event/note

local was = redis.call('HMGET', record, 'status', 'status_at', 'binding', 'client', 'receipts',
  'created_at', 'updated_at', 'ver', 'deleted', 'name', 'identity', 'mode')
local member = 'headers:' .. id
redis.call('ZSCORE', sealed, member)
redis.call('ZSCORE', orphans, member)
local by = retention and 'system:sweep' or was[12] == 'admin' and 'operator' or 'owner'
local note = teller(KEYS[4], KEYS[5], by, '')
-- Its binding and its client's index are named as it is, in the same slot.
local base = record:match('^(.*:{%x%x}:)')
local binding, clients = was[3] and base .. 'binding:' .. was[3], was[4] and base .. 'client:' .. was[4]
local bound = binding and redis.call('GET', binding) == id
if clients then redis.call('ZSCORE', clients, id) end
if was[9] == request then
  -- In case the first call could not: without a status these are receipts alone.
  if redis.call('PTTL', record) == -1 then redis.call('PEXPIRE', record, grace) end
  return {'removed', request, was[3] or ''}
end
if not was[1] then
  redis.call('ZREM', sealed, member)
  redis.call('ZREM', orphans, member)
  return {'absent', request}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if retention then
  if was[1] ~= 'orphaned' then
    redis.call('ZREM', orphans, member)
    return {'not_orphaned', request}
  end
  local left = (tonumber(was[2]) or now) + retention - now
  if left > 0 then return {'too_young', request, left} end
end

-- Or the next sweep would not find it.
must_be_allowed('ZREM', orphans)
if clients then must_be_allowed('ZREM', clients) end
if bound then must_be_allowed('PEXPIRE', binding) end
must_be_allowed('UNLINK', record)
must_be_allowed('HSET', record)
must_be_allowed('PEXPIRE', record)
-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', record:match('^[^:]+') .. ':changed', 'headers:' .. (was[3] or '*'))
redis.call('ZREM', sealed, member)
redis.call('ZREM', orphans, member)
if clients then redis.call('ZREM', clients, id) end
-- Until the receipts end it leads to them, so that a retried upsert brings nothing back.
if bound then redis.call('PEXPIRE', binding, grace) end
redis.call('UNLINK', record)
local stamp = string.format('%d', now)
local left = {'deleted', request, 'deleted_at', stamp}
for field, value in pairs({binding = was[3], receipts = was[5], created_at = was[6],
  updated_at = was[7], ver = was[8]}) do
  if value then
    left[#left + 1] = field
    left[#left + 1] = value
  end
end
redis.call('HSET', record, unpack(left)) -- at most 14
redis.call('PEXPIRE', record, grace)
local subject = {'headers', id, was[10], was[11]}
if retention then
  note('reaped', subject, stamp, words('since', was[2]))
else
  note('token_deleted_revoked', subject, stamp, words('from', was[1]))
end
return {'removed', request, was[3] or ''}
