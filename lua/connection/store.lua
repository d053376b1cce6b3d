#!lua flags=allow-oom
-- store: a credential of a new connection, or a new grant of an existing one.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  owned     ZSET  {xx}:owner:<digest of owner>, ids by creation
-- KEYS[3]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[4]  orphans   ZSET  {xx}:orphans, members by when they became orphans
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex, digest of the owner
-- ARGV[4]  connector slug
-- ARGV[5]  secret    sealed
-- ARGV[6]  token     32 hex, digest of the refresh token; empty: none
-- ARGV[7]  expires   ms the access token lives; empty: undisclosed
-- ARGV[8]  next      ms until it is to be refreshed; empty: never
--
-- Returns  {"stored", request, grant}   the current grant; also on a retry with the same request id
--          {"foreign", request}         another owner's or connector's; nothing written
--
-- Why Lua: the grant, the secret and two indexes change together, and a retry must not bump twice.
local conn, owned, due, orphans = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local request, id, owner, connector = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local secret, token, expires, next_in = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local was = redis.call('HMGET', conn, 'owner', 'connector', 'stored', 'grant', 'created_at', 'ver',
  'fence', 'last_grant')
redis.call('ZSCORE', owned, id)
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', orphans, 'conn:' .. id)
if was[1] and (was[1] ~= owner or was[2] ~= connector) then return {'foreign', request} end
-- Of one that was deleted a moment ago only receipts are left.
local deleted = not was[1] and was[8]
local before = tonumber(deleted or was[4])
if was[3] and was[3]:find(request, 1, true) then return {'stored', request, before} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)
-- The last four receipts, so that a late retry does not find its own overwritten.
local receipts = request .. ' ' .. (was[3] or ''):sub(1, 98)
-- Not HINCRBY: it could fail when half is written.
local grant, ver = (before or 0) + 1, (tonumber(was[6]) or 0) + 1

local next_at = next_in ~= '' and string.format('%d', now + next_in)

-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id)
-- The indexes first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest.
if next_at then redis.call('ZADD', due, next_at, id) else redis.call('ZREM', due, id) end
redis.call('ZADD', owned, 'NX', stamp, id)
redis.call('ZREM', orphans, 'conn:' .. id)
local set = {'v', 1, 'status', 'active', 'status_at', stamp, 'owner', owner,
  'connector', connector, 'grant', grant, 'ver', ver, 'secret', secret, 'attempts', 0,
  'stored', receipts, 'created_at', was[5] or stamp, 'updated_at', stamp}
local drop = {'base', 'reason', 'lease', 'lease_by', 'lease_ends_at', 'att_token', 'att_fence',
  'att_first', 'att_at', 'last_error', 'error_at', 'failing_at', 'answered_at', 'refused', 'alt_secret',
  'alt_token', 'alt_expires_at', 'alt_answered_at', 'alt2_secret', 'alt2_token',
  'alt2_expires_at', 'alt2_answered_at', 'deleted_at', 'last_grant', 'was', 'was_reason'}
local function put(field, value)
  if value then
    set[#set + 1] = field
    set[#set + 1] = value
  else
    drop[#drop + 1] = field
  end
end
-- A damaged counter is mended: under the new grant no older attempt is accepted anyway.
if was[7] and (#was[7] > 15 or not was[7]:match('^%d+$')) then drop[#drop + 1] = 'fence' end
put('token', token ~= '' and token)
put('expires_at', expires ~= '' and string.format('%d', now + expires))
put('next_at', next_at)
if deleted then redis.call('PERSIST', conn) end
redis.call('HSET', conn, unpack(set)) -- at most 32
redis.call('HDEL', conn, unpack(drop)) -- at most 30
return {'stored', request, grant}
