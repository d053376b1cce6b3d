#!lua
-- begin: the lease, the next fence, and the write-ahead of one exchange; or the end of what can be
-- refreshed no more.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[3]  outbox    STREAM  {xx}:outbox
-- KEYS[4]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id; becomes the holder
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex; empty: any
-- ARGV[4]  lease     ms
-- ARGV[5]  instance  which replica, for people
-- ARGV[6]  forgiven  ms after its first presentation that a refresh token may be presented again
-- ARGV[7]  settled   ms after it that no journal can decide the first one any more
-- ARGV[8]  lifetime  ms after its sign-in that a grant is refreshed; empty: without end
-- ARGV[9]  actor     who wants it, for the events
-- ARGV[10] host      the provider's, for the events; may be empty
--
-- Returns  {"begun", request, fence, grant, connector, secret, token, attempts, undecided, owner,
--           ends, signed}                undecided: ms since an earlier attempt, or -1;
--                                        ends: ms until the refresh token's end, or -1;
--                                        signed: ms since the sign-in, or -1
--          {"held", request, ms}         another holder's lease is live for so long
--          {"undecided", request, ms}    an earlier attempt may still be decided for so long
--          {"not_due", request, ms, attempts}
--          {"not_refreshable", request}  no refresh token, or never to be refreshed
--          {"inactive", request, status} also if this call found that only its owner can help
--          {"absent", request}           no such connection, or another owner's
--          {"corrupt", request}          a field is missing, or of another form; left as it is
--
-- Why Lua: whether it is due is judged where the lease is taken, never on what a list said before.
-- Not allow-oom: on a full Redis nothing new starts.
local conn, due = KEYS[1], KEYS[2]
local request, id, owner, lease, instance = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local forgiven, settled, lifetime = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
-- include: event/note

local was = redis.call('HMGET', conn, 'owner', 'status', 'grant', 'connector', 'secret', 'token',
  'next_at', 'lease', 'lease_ends_at', 'attempts', 'fence', 'att_token', 'att_at', 'att_first',
  'expires_at', 'refresh_expires_at', 'authenticated_at')
redis.call('ZSCORE', due, id)
local note = teller(KEYS[3], KEYS[4], ARGV[9], ARGV[10])
-- What is no whole number of a sane size is damaged, and must not be written on.
local function number(text)
  return text and #text <= 15 and text:match('^%d+$') and tonumber(text)
end
local function hex(text) return #text == 32 and text:match('^[0-9a-f]+$') end
local token, next_at, fence = was[6], number(was[7]), number(was[11] or '0')
local grant, attempts, expires_at = number(was[3]), number(was[10]), number(was[15])
if not was[1] then
  redis.call('ZREM', due, id)
  return {'absent', request}
end
if owner ~= '' and owner ~= was[1] then return {'absent', request} end
if not (was[2] and grant and (was[5] or was[2] ~= 'active') and fence
  and (next_at or not was[7]) and attempts and attempts < 2 ^ 32
  and was[4] and was[4]:match('^[a-z0-9-]+$') and hex(was[1]) and (not token or hex(token)))
then return {'corrupt', request} end
if was[2] ~= 'active' then
  redis.call('ZREM', due, id)
  return {'inactive', request, was[2]}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function at(ms) return string.format('%d', ms) end
-- It is not refreshed any more. A retry finds it so, and is told the same.
local function ended(reason, skipped)
  must_be_allowed('HDEL', conn)
  redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id)
  redis.call('ZREM', due, id)
  redis.call('HSET', conn, 'status', 'needs_reauth', 'reason', reason, 'status_at', at(now),
    'updated_at', at(now))
  note(skipped, {'connection', id, was[4], was[1]}, at(now), words('before', was[15]))
  note('needs_reauth', {'connection', id, was[4], was[1]}, at(now), words('reason', reason))
  redis.call('HDEL', conn, 'next_at')
  return {'inactive', request, 'needs_reauth'}
end
local lives = expires_at and expires_at > now
if not token and expires_at and not lives then
  return ended('no_refresh_token', 'refresh_skipped_no_token')
end
if not token or not next_at then
  -- Without a refresh token it is looked at when its access token ends.
  if next_at then redis.call('ZADD', due, was[7], id) else redis.call('ZREM', due, id) end
  return {'not_refreshable', request}
end

local leased = (tonumber(was[9]) or 0) - now
-- No lease is that long: the clock of Redis has jumped back.
if leased > 60000 then leased = 0 end
local mine = was[8] == request and leased > 0
if leased > 0 and not mine then return {'held', request, leased} end
local ends, signed = number(was[16]), number(was[17])
local deadline = math.min(ends or math.huge, lifetime and signed and signed + lifetime or math.huge)
if not mine and next_at <= now and deadline <= now then
  if not lives then return ended('refresh_expired', 'refresh_skipped_expired') end
  -- What lives is served to its end.
  next_at = expires_at
  redis.call('HSET', conn, 'next_at', at(next_at))
end
if not mine and next_at > now then
  redis.call('ZADD', due, at(next_at), id)
  return {'not_due', request, next_at - now, attempts}
end

-- The first presentation of a refresh token counts: a provider's grace begins there. A retry by
-- the attempt that made it is told what the first call was.
local again = was[12] == token and not (mine and was[14] == was[11])
-- One that is still to come is from before the clock of Redis jumped back: it counts from now.
if again and (tonumber(was[13]) or 0) > now then redis.call('HSET', conn, 'att_at', at(now)) end
local undecided = again and math.max(0, now - (tonumber(was[13]) or 0)) or -1
if not mine and undecided >= forgiven and undecided < settled then
  redis.call('ZADD', due, at(now + settled - undecided), id)
  return {'undecided', request, settled - undecided}
end
if not mine then
  fence = fence + 1
  -- The index first: hidden alone it is due again then, and a retry does the rest.
  redis.call('ZADD', due, at(now + lease), id)
  if undecided == -1 then redis.call('HSET', conn, 'att_at', at(now), 'att_first', fence) end
  redis.call('HSET', conn, 'fence', fence, 'lease', request, 'lease_by', instance,
    'lease_ends_at', at(now + lease), 'att_fence', fence, 'att_token', token)
end
return {'begun', request, fence, grant, was[4], was[5], token, attempts, undecided, was[1],
  ends and ends - now or -1, signed and now - signed or -1}
