#!lua flags=allow-oom
-- store: a credential of a new connection, or a new grant of an existing one.
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
-- ARGV[4]  connector slug
-- ARGV[5]  secret    sealed
-- ARGV[6]  key       8 hex, which key of the ring sealed it
-- ARGV[7]  token     32 hex, digest of the refresh token; empty: none
-- ARGV[8]  expires   ms the access token lives; empty: undisclosed
-- ARGV[9]  ends      ms the refresh token lives; empty: undisclosed
-- ARGV[10] next      ms until it is to be refreshed; empty: never
-- ARGV[11] actor     who stores it, for the events
-- ARGV[12] host      the provider's, for the events; may be empty
-- ARGV[13] known     when it had been revoked or orphaned when its owner set out to re-authorise it,
--                    in ms since 1970; 0: it had not; empty: it is not re-authorised
--
-- Returns  {"stored", request, grant}   the current grant; also on a retry with the same request id
--          {"foreign", request}         another owner's or connector's; nothing written
--          {"ended", request, status}   revoked or orphaned since then; empty: deleted; likewise
--
-- Why Lua: the grant, the secret and two indexes change together, and a retry must not bump twice.
local conn, owned, due, orphans, sealed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local request, id, owner, connector = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local secret, key, token, expires, ends = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local next_in, known = ARGV[10], ARGV[13]
-- include: connection/record
-- include: event/note

local was = redis.call('HMGET', conn, 'owner', 'connector', 'stored', 'grant', 'created_at', 'ver',
  'fence', 'last_grant', 'status', 'reason', 'status_at')
redis.call('ZSCORE', owned, id)
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', orphans, 'conn:' .. id)
redis.call('ZSCORE', sealed, 'conn:' .. id)
local note = teller(KEYS[6], KEYS[7], ARGV[11], ARGV[12])
if was[1] and (was[1] ~= owner or was[2] ~= connector) then return {'foreign', request} end
-- Of one that was deleted a moment ago only receipts are left.
local deleted = not was[1] and was[8]
local before = tonumber(deleted or was[4])
if was[3] and was[3]:find(request, 1, true) then return {'stored', request, before} end
-- What was ended meanwhile is not brought back by a sign-in that began before.
if known ~= '' then
  local ended = was[9] == 'revoked' or was[9] == 'orphaned'
  if not was[1] or ended and (was[11] or '1') ~= known then
    return {'ended', request, was[1] and was[9] or ''}
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)
local function after(ms) return ms ~= '' and string.format('%d', now + ms) end
-- The last four receipts, so that a late retry does not find its own overwritten.
local receipts = request .. ' ' .. (was[3] or ''):sub(1, 98)
-- Not HINCRBY: it could fail when half is written.
local grant, ver = (before or 0) + 1, (tonumber(was[6]) or 0) + 1
local next_at, expires_at, ends_at = after(next_in), after(expires), after(ends)
local answers = {{secret, key, token ~= '' and token, expires_at, ends_at, false}}

must_be_allowed('HDEL', conn)
-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id)
-- The indexes first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest.
if next_at then redis.call('ZADD', due, next_at, id) else redis.call('ZREM', due, id) end
redis.call('ZADD', owned, 'NX', stamp, id)
redis.call('ZREM', orphans, 'conn:' .. id)
index_answers(sealed, id, answers)
set = {'v', 1, 'status', 'active', 'status_at', stamp, 'owner', owner, 'connector', connector,
  'grant', grant, 'ver', ver, 'attempts', 0, 'stored', receipts, 'authenticated_at', stamp,
  'created_at', was[5] or stamp, 'updated_at', stamp}
put_answers(answers)
put('next_at', next_at)
clear({'base', 'reason', 'last_error', 'error_at', 'failing_at', 'refused', 'deleted_at',
  'last_grant', 'was', 'was_reason'})
clear(LEASE)
clear(ATTEMPT)
-- A damaged counter is mended: under the new grant no older attempt is accepted anyway.
if was[7] and (#was[7] > 15 or not was[7]:match('^%d+$')) then drop[#drop + 1] = 'fence' end
if deleted then redis.call('PERSIST', conn) end
redis.call('HSET', conn, unpack(set)) -- at most 38
local subject = {'connection', id, connector, owner}
note('connect_completed', subject, stamp, words('grant', grant, 'ver', ver, 'after', expires_at,
  'refresh_until', ends_at))
-- What never had a credential was not lost before, and what its owner revoked is connected anew.
if was[1] and (before or 0) > 0 and was[9] ~= 'active' and was[9] ~= 'revoked' then
  note('recovered', subject, stamp, words('from', was[9], 'reason', was[10]))
end
redis.call('HDEL', conn, unpack(drop)) -- at most 35
return {'stored', request, grant}
