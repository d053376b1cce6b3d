#!lua flags=allow-oom
-- restore: give the access to a connection back; it is what it was, and due when it was.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[3]  orphans   ZSET  {xx}:orphans, members by when they became orphans
-- KEYS[4]  outbox    STREAM  {xx}:outbox
-- KEYS[5]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex, digest of the owner
--
-- Returns  {"restored", request}       also on a retry with the same request id
--          {"not_orphaned", request}   there is nothing to give back
--          {"absent", request}         no such connection, or another owner's
--          {"corrupt", request}        no owner, or nobody knows what it was; left as it is
--
-- Why Lua: a sweep may be about to reap it: either it is gone, or it is back with both indexes.
local conn, due, orphans = KEYS[1], KEYS[2], KEYS[3]
local request, id, owner = ARGV[1], ARGV[2], ARGV[3]
-- include: event/note

local was = redis.call('HMGET', conn, 'owner', 'status', 'was', 'was_reason', 'next_at', 'restored',
  'connector')
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', orphans, 'conn:' .. id)
local note = teller(KEYS[4], KEYS[5], 'operator', '')
if not was[1] and was[2] then return {'corrupt', request} end
if was[1] ~= owner then return {'absent', request} end
-- What came since is none of this request's.
if was[6] and was[6]:find(request, 1, true) then return {'restored', request} end
if was[2] ~= 'orphaned' then
  redis.call('ZREM', orphans, 'conn:' .. id)
  return {'not_orphaned', request}
end
local known = {active = true, needs_reauth = true, exhausted = true}
if not known[was[3] or ''] or was[5] and not tonumber(was[5]) then return {'corrupt', request} end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
must_be_allowed('HDEL', conn)
must_be_allowed('ZREM', orphans)
-- The due index first: what is due in it and is still an orphan is found out by begin.
if was[3] == 'active' and was[5] then redis.call('ZADD', due, was[5], id) end
redis.call('HSET', conn, 'status', was[3], 'status_at', stamp, 'reason', was[4] or '',
  'updated_at', stamp, 'restored', request .. ' ' .. (was[6] or ''):sub(1, 98))
note('reactivated', {'connection', id, was[7] or '', owner}, stamp, words('to', was[3]))
local drop = {'was', 'was_reason'}
if (was[4] or '') == '' then drop[3] = 'reason' end
redis.call('HDEL', conn, unpack(drop)) -- at most 3
-- Last: a member that is no orphan is taken off when it is reaped.
redis.call('ZREM', orphans, 'conn:' .. id)
return {'restored', request}
