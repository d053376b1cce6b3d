#!lua flags=allow-oom
-- revoke: withdraw a connection, with every secret of it.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[3]  orphans   ZSET  {xx}:orphans, members by when they became orphans
-- KEYS[4]  sealed    ZSET  {xx}:sealed, what is sealed by the key that sealed it
-- KEYS[5]  outbox    STREAM  {xx}:outbox
-- KEYS[6]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex, digest of the owner
-- ARGV[4]  reason    sanitised, at most 200 characters
-- ARGV[5]  actor     who revokes it, for the events
-- ARGV[6]  host      the provider's, for the events; may be empty
--
-- Returns  {"revoked", request, grant}   also on a retry with the same request id
--          {"already", request}          by another request, whose reason and time are kept
--          {"absent", request}           no such connection, or another owner's
--          {"corrupt", request}          it has no owner; left as it is
--
-- Why Lua: status, grant and secrets change together, or an exchange in flight brings it back.
local conn, due, orphans, sealed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local request, id, owner, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- include: connection/record
-- include: event/note

local was = redis.call('HMGET', conn, 'owner', 'status', 'grant', 'revoked', 'connector')
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', orphans, 'conn:' .. id)
redis.call('ZSCORE', sealed, 'conn:' .. id)
local note = teller(KEYS[5], KEYS[6], ARGV[5], ARGV[6])
if not was[1] and was[2] then return {'corrupt', request} end
if was[1] ~= owner then return {'absent', request} end
local grant, already = tonumber(was[3]) or 0, was[2] == 'revoked'
local mine = was[4] and was[4]:find(request, 1, true)
-- A new grant since is none of this request's.
if mine and not already then return {'revoked', request, grant} end

-- Told first: nobody reads before this is done, and a missing right fails here.
if not already then redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id) end
redis.call('ZREM', due, id)
redis.call('ZREM', orphans, 'conn:' .. id)
index_answers(sealed, id, {})
if not already then
  grant = grant + 1
  local time = redis.call('TIME')
  local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
  -- The last four receipts, so that a late retry does not find its own overwritten.
  redis.call('HSET', conn, 'status', 'revoked', 'reason', reason, 'status_at', stamp,
    'grant', grant, 'revoked', request .. ' ' .. (was[4] or ''):sub(1, 98), 'updated_at', stamp)
  note('token_deleted_revoked', {'connection', id, was[5] or '', owner}, stamp,
    words('from', was[2], 'reason', reason))
end
-- Last, and again on every call: in case the first one could not.
put_answers({})
clear({'base', 'refused', 'next_at', 'was', 'was_reason'})
clear(LEASE)
clear(ATTEMPT)
redis.call('HDEL', conn, unpack(drop)) -- 30
if already and not mine then return {'already', request} end
return {'revoked', request, grant}
