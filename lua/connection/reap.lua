#!lua flags=allow-oom
-- reap: delete a connection that has been an orphan for long enough; receipts stay for a while.
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
-- ARGV[3]  owner     32 hex, digest of the owner, as it was listed
-- ARGV[4]  retention ms that an orphan is kept
-- ARGV[5]  grace     ms the receipts live
--
-- Returns  {"reaped", request}          also on a retry with the same request id
--          {"not_orphaned", request}    access was given back meanwhile, or it is another one now
--          {"too_young", request, ms}   an orphan for less than the retention, for so much longer
--          {"absent", request}          no such connection any more
--          {"corrupt", request}         no owner, or not known since when; left as it is
--
-- Why Lua: it may have been given back since it was listed, and must survive then. What is left
-- of it is what a deletion leaves.
local conn, owned, due, orphans, sealed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local request, id, owner = ARGV[1], ARGV[2], ARGV[3]
local retention, grace, member = tonumber(ARGV[4]), ARGV[5], 'conn:' .. ARGV[2]
-- include: event/note

local was = redis.call('HMGET', conn, 'owner', 'status', 'status_at', 'grant', 'deleted', 'stored',
  'revoked', 'fence', 'withdrawn', 'restored', 'connector')
redis.call('ZSCORE', owned, id)
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', orphans, member)
redis.call('ZSCORE', sealed, member)
local note = teller(KEYS[6], KEYS[7], 'system:sweep', '')
if was[5] == request then
  -- In case the first call could not: without an owner these are receipts alone.
  if not was[1] and redis.call('PTTL', conn) == -1 then redis.call('PEXPIRE', conn, grace) end
  return {'reaped', request}
end
if not was[1] and was[2] then return {'corrupt', request} end
if not was[1] then
  redis.call('ZREM', owned, id)
  redis.call('ZREM', due, id)
  redis.call('ZREM', orphans, member)
  return {'absent', request}
end
if was[1] ~= owner then return {'not_orphaned', request} end
if was[2] ~= 'orphaned' then
  redis.call('ZREM', orphans, member)
  return {'not_orphaned', request}
end
local since = was[3] and #was[3] <= 15 and was[3]:match('^%d+$') and tonumber(was[3])
if not since then return {'corrupt', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - since < retention then
  redis.call('ZADD', orphans, was[3], member)
  return {'too_young', request, since + retention - now}
end
-- Or the next sweep would not find it.
must_be_allowed('ZREM', due, orphans, sealed)
must_be_allowed('UNLINK', conn)
must_be_allowed('HSET', conn)
must_be_allowed('PEXPIRE', conn)
redis.call('ZREM', owned, id)
redis.call('ZREM', due, id)
redis.call('ZREM', orphans, member)
redis.call('ZREM', sealed, member, 'alt:' .. id, 'alt2:' .. id)
redis.call('UNLINK', conn)
local stamp = string.format('%d', now)
local left = {'deleted', request, 'deleted_at', stamp, 'last_grant', (tonumber(was[4]) or 0) + 1}
for at, field in ipairs({'stored', 'revoked', 'fence', 'withdrawn', 'restored'}) do
  if was[at + 5] then
    left[#left + 1] = field
    left[#left + 1] = was[at + 5]
  end
end
redis.call('HSET', conn, unpack(left)) -- at most 16
note('reaped', {'connection', id, was[11] or '', owner}, stamp, words('since', was[3]))
redis.call('PEXPIRE', conn, grace)
return {'reaped', request}
