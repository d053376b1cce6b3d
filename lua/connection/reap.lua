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
local conn, indexes = KEYS[1], {owned = KEYS[2], due = KEYS[3], orphans = KEYS[4], sealed = KEYS[5]}
local request, id, owner = ARGV[1], ARGV[2], ARGV[3]
local retention, grace = tonumber(ARGV[4]), ARGV[5]
-- include: event/note
-- include: connection/removed

local was = look(conn, indexes, id)
local note = teller(KEYS[6], KEYS[7], 'system:sweep', '')
if was.deleted == request then return {'reaped', request} end
if not was.owner and was.status then return {'corrupt', request} end
if not was.owner then
  unlist(indexes, id)
  return {'absent', request}
end
if was.owner ~= owner then return {'not_orphaned', request} end
if was.status ~= 'orphaned' then
  redis.call('ZREM', indexes.orphans, 'conn:' .. id)
  return {'not_orphaned', request}
end
local at = was.status_at
local since = at and #at <= 15 and at:match('^%d+$') and tonumber(at)
if not since then return {'corrupt', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - since < retention then
  redis.call('ZADD', indexes.orphans, at, 'conn:' .. id)
  return {'too_young', request, since + retention - now}
end
local stamp = string.format('%d', now)
remove(conn, indexes, id, was, request, stamp, grace)
note('reaped', {'connection', id, was.connector, owner}, stamp, words('since', at))
return {'reaped', request}
