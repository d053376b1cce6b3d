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
-- ARGV[10] answered  ms since the exchange that brought it began: what began later is later
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
-- freshly rotated token away bricks the account. Of two answers to one token the later is current,
-- also where the provider does not rotate and the token stays the same.
local answers_the_same = was[6] == presented
local later = answered > (tonumber(was[7]) or 0)
if answers_the_same and not later or was[5] ~= presented and not answers_the_same then
  return {'superseded', request}
end

-- The last four receipts, so that a late retry does not find its own overwritten.
local receipts = request .. ' ' .. (was[3] or ''):sub(1, 98)
local next_at = next_in ~= '' and string.format('%d', now + next_in)
local recovered = was[1] ~= 'active' and 1 or 0

-- The index first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest. Not HINCRBY: it could fail on what it finds.
if next_at then redis.call('ZADD', due, next_at, id) else redis.call('ZREM', due, id) end
local set = {'status', 'active', 'ver', ver + 1, 'secret', secret, 'base', presented, 'attempts', 0,
  'committed', receipts, 'answered_at', string.format('%d', answered),
  'updated_at', string.format('%d', now)}
local drop = {'reason', 'last_error', 'error_at'}
local function put(field, value)
  if value then
    set[#set + 1] = field
    set[#set + 1] = value
  else
    drop[#drop + 1] = field
  end
end
put('token', token ~= '' and token)
put('expires_at', expires ~= '' and string.format('%d', now + expires))
put('next_at', next_at)
if recovered == 1 then put('status_at', string.format('%d', now)) end
redis.call('HSET', conn, unpack(set)) -- at most 24
redis.call('HDEL', conn, unpack(drop)) -- at most 6
if was[8] == fence then
  redis.call('HDEL', conn, 'lease', 'lease_by', 'lease_ends_at', 'att_token', 'att_fence',
    'att_first', 'att_at')
end
return {'committed', request, ver + 1, recovered}
