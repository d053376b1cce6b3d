#!lua flags=allow-oom
-- commit: store what the provider answered, judged by grant and lineage.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- ARGV[1]  request   32 hex, digest of the commit's request id
-- ARGV[2]  id        the connection
-- ARGV[3]  fence     of the attempt
-- ARGV[4]  grant     that the attempt began under
-- ARGV[5]  presented 32 hex, digest of the refresh token that was presented
-- ARGV[6]  secret    sealed
-- ARGV[7]  token     32 hex, digest of the new refresh token; empty: none
-- ARGV[8]  expires   ms the access token lives; empty: undisclosed
-- ARGV[9]  next      ms until the next refresh; empty: never
-- ARGV[10] answered  ms since the provider answered
--
-- Returns  {"committed", request, ver, recovered}   recovered: 1 if it needed re-authorisation
--          {"already", request, ver}   this very commit, however late; the current ver
--          {"superseded", request}     another answer is current
--          {"refused", request}        the grant changed: perhaps another account's secret
--          {"gone", request}
--
-- Why Lua: judging and storing must be one step, or a rotated token is overwritten by an older one.
local conn, due = KEYS[1], KEYS[2]
local request, id, fence, grant, presented = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local secret, token, expires, next_in = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

local was = redis.call('HMGET', conn, 'status', 'grant', 'committed', 'ver', 'token', 'base',
  'answered_at', 'att_fence')
redis.call('ZSCORE', due, id)
if not was[1] then return {'gone', request} end
local ver = tonumber(was[4]) or 0
if was[3] and was[3]:find(request, 1, true) then return {'already', request, ver} end
if was[2] ~= grant then return {'refused', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answered = now - ARGV[10]
-- The presented token is the current one: accepted whatever the fence says, because throwing a
-- freshly rotated token away bricks the account. Of two siblings the later answer is current.
local sibling = was[6] == presented and answered > (tonumber(was[7]) or 0)
if was[5] ~= presented and not sibling then return {'superseded', request} end

redis.call('HDEL', conn, 'token', 'expires_at', 'next_at', 'reason', 'last_error', 'error_at')
if was[8] == fence then
  redis.call('HDEL', conn, 'lease', 'lease_by', 'lease_ends_at', 'att_token', 'att_fence',
    'att_first', 'att_at')
end
-- The last four receipts, so that a late retry does not find its own overwritten.
local receipts = request .. ' ' .. (was[3] or ''):sub(1, 98)
-- Not HINCRBY: it could fail here, when half is written.
ver = ver + 1
redis.call('HSET', conn, 'status', 'active', 'ver', ver, 'secret', secret, 'base', presented,
  'attempts', 0, 'committed', receipts, 'answered_at', string.format('%d', answered),
  'updated_at', string.format('%d', now))
if token ~= '' then redis.call('HSET', conn, 'token', token) end
if expires ~= '' then redis.call('HSET', conn, 'expires_at', string.format('%d', now + expires)) end
if next_in ~= '' then
  local next_at = string.format('%d', now + next_in)
  redis.call('HSET', conn, 'next_at', next_at)
  redis.call('ZADD', due, next_at, id)
else
  redis.call('ZREM', due, id)
end
local recovered = 0
if was[1] ~= 'active' then
  recovered = 1
  redis.call('HSET', conn, 'status_at', string.format('%d', now))
end
return {'committed', request, ver, recovered}
