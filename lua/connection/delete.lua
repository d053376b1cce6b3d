#!lua flags=allow-oom
-- delete: remove a connection with all that is known of it; receipts stay for a while.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  owned     ZSET  {xx}:owner:<digest of owner>, ids by creation
-- KEYS[3]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[4]  orphans   ZSET  {xx}:orphans, members by when they became orphans
-- KEYS[5]  sealed    ZSET  {xx}:sealed, what is sealed by the key that sealed it
-- KEYS[6]  outbox    STREAM  {xx}:outbox
-- KEYS[7]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex, digest of the owner
-- ARGV[4]  grace     ms the receipts live
-- ARGV[5]  actor     who deletes it, for the events
-- ARGV[6]  host      the provider's, for the events; may be empty
--
-- Returns  {"deleted", request}   also on a retry with the same request id
--          {"absent", request}    no such connection, not any more, or another owner's
--          {"corrupt", request}   it has no owner; left as it is
--
-- Why Lua: what was on its way to the record must find that it is gone, and stay away: a retried
-- store its receipt, and what is stored anew under the id another grant than before.
local conn, owned, due, orphans, sealed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local request, id, owner, grace = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- include: event/note

local was = redis.call('HMGET', conn, 'owner', 'status', 'grant', 'deleted', 'stored', 'revoked',
  'fence', 'withdrawn', 'restored', 'connector')
redis.call('ZSCORE', owned, id)
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', orphans, 'conn:' .. id)
redis.call('ZSCORE', sealed, 'conn:' .. id)
local note = teller(KEYS[6], KEYS[7], ARGV[5], ARGV[6])
if was[4] == request then
  -- In case the first call could not: without an owner these are receipts alone.
  if not was[1] and redis.call('PTTL', conn) == -1 then redis.call('PEXPIRE', conn, grace) end
  return {'deleted', request}
end
if not was[1] and was[2] then return {'corrupt', request} end
if not was[1] then
  redis.call('ZREM', owned, id)
  redis.call('ZREM', due, id)
  redis.call('ZREM', orphans, 'conn:' .. id)
end
if was[1] ~= owner then return {'absent', request} end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
must_be_allowed('UNLINK', conn)
must_be_allowed('HSET', conn)
-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id)
redis.call('ZREM', owned, id)
redis.call('ZREM', due, id)
redis.call('ZREM', orphans, 'conn:' .. id)
redis.call('ZREM', sealed, 'conn:' .. id, 'alt:' .. id, 'alt2:' .. id)
redis.call('UNLINK', conn)
local left = {'deleted', request, 'deleted_at', stamp, 'last_grant', (tonumber(was[3]) or 0) + 1}
for at, field in ipairs({'stored', 'revoked', 'fence', 'withdrawn', 'restored'}) do
  if was[at + 4] then
    left[#left + 1] = field
    left[#left + 1] = was[at + 4]
  end
end
redis.call('HSET', conn, unpack(left)) -- at most 16
note('token_deleted_admin', {'connection', id, was[10] or '', owner}, stamp, words('from', was[2]))
redis.call('PEXPIRE', conn, grace)
return {'deleted', request}
