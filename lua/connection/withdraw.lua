#!lua flags=allow-oom
-- withdraw: take access to a connection away; it is kept whole until that is given back, or reaped.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[3]  orphans   ZSET  {xx}:orphans, members by when they became orphans
-- KEYS[4]  outbox    STREAM  {xx}:outbox
-- KEYS[5]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex, digest of the owner
-- ARGV[4]  reason    a word
--
-- Returns  {"withdrawn", request}   also on a retry with the same request id
--          {"already", request}     an orphan before; since when is kept
--          {"revoked", request}     it holds nothing that could be given back
--          {"absent", request}      no such connection, or another owner's
--          {"corrupt", request}     no owner, or no status that is known; left as it is
--
-- Why Lua: what it was is remembered in the step that makes it an orphan, and two indexes follow.
local conn, due, orphans = KEYS[1], KEYS[2], KEYS[3]
local request, id, owner, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- include: event/note

local was = redis.call('HMGET', conn, 'owner', 'status', 'reason', 'status_at', 'withdrawn',
  'connector')
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', orphans, 'conn:' .. id)
local note = teller(KEYS[4], KEYS[5], 'operator', '')
if not was[1] and was[2] then return {'corrupt', request} end
if was[1] ~= owner then return {'absent', request} end
-- What came since is none of this request's.
if was[5] and was[5]:find(request, 1, true) then return {'withdrawn', request} end
if was[2] == 'revoked' then return {'revoked', request} end
if was[2] == 'orphaned' then
  redis.call('ZADD', orphans, tonumber(was[4]) or 0, 'conn:' .. id)
  return {'already', request}
end
local known = {active = true, needs_reauth = true, exhausted = true}
if not known[was[2]] then return {'corrupt', request} end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id)
-- The indexes first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest. What is due in one that is none is found out by begin.
redis.call('ZADD', orphans, stamp, 'conn:' .. id)
redis.call('ZREM', due, id)
redis.call('HSET', conn, 'status', 'orphaned', 'status_at', stamp, 'was', was[2],
  'was_reason', was[3] or '', 'reason', reason, 'updated_at', stamp,
  'withdrawn', request .. ' ' .. (was[5] or ''):sub(1, 98))
note('orphaned', {'connection', id, was[6] or '', owner}, stamp,
  words('from', was[2], 'reason', reason))
return {'withdrawn', request}
