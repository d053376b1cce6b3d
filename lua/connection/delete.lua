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
-- Why Lua: whose it is, is judged where it goes; and what was on its way to it stays away.
local conn, indexes = KEYS[1], {owned = KEYS[2], due = KEYS[3], orphans = KEYS[4], sealed = KEYS[5]}
local request, id, owner, grace = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- include: event/note
-- include: connection/removed

local was = look(conn, indexes, id)
local note = teller(KEYS[6], KEYS[7], ARGV[5], ARGV[6])
if was.deleted == request then return {'deleted', request} end
if not was.owner and was.status then return {'corrupt', request} end
if not was.owner then unlist(indexes, id) end
if was.owner ~= owner then return {'absent', request} end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
remove(conn, indexes, id, was, request, stamp, grace)
note('token_deleted_admin', {'connection', id, was.connector, owner}, stamp,
  words('from', was.status))
return {'deleted', request}
