#!lua
-- begin: the lease, the next fence, and the write-ahead of one exchange.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- ARGV[1]  request   32 hex, digest of the request id; becomes the holder
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex; empty: any
-- ARGV[4]  lease     ms
-- ARGV[5]  instance  which replica, for people
-- ARGV[6]  forgiven  ms after its first presentation that a refresh token may be presented again
-- ARGV[7]  settled   ms after it that no journal can decide the first one any more
--
-- Returns  {"begun", request, fence, grant, connector, secret, token, attempts, undecided, owner}
--                                        undecided: ms since an earlier attempt, or -1
--          {"held", request, ms}         another holder's lease is live for so long
--          {"undecided", request, ms}    an earlier attempt may still be decided for so long
--          {"not_due", request, ms, attempts}
--          {"not_refreshable", request}  no refresh token, or never to be refreshed
--          {"inactive", request, status}
--          {"absent", request}           no such connection, or another owner's
--          {"corrupt", request}          a field is missing, or of another form; left as it is
--
-- Why Lua: whether it is due is judged where the lease is taken, never on what a list said before.
-- Not allow-oom: on a full Redis nothing new starts.
local conn, due = KEYS[1], KEYS[2]
local request, id, owner, lease, instance = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local forgiven, settled = tonumber(ARGV[6]), tonumber(ARGV[7])

local was = redis.call('HMGET', conn, 'owner', 'status', 'grant', 'connector', 'secret', 'token',
  'next_at', 'lease', 'lease_ends_at', 'attempts', 'fence', 'att_token', 'att_at', 'att_first')
redis.call('ZSCORE', due, id)
-- What is no whole number of a sane size is damaged, and must not be written on.
local function number(text)
  return text and #text <= 15 and text:match('^%d+$') and tonumber(text)
end
local token, next_at, fence = was[6], number(was[7]), number(was[11] or '0')
local grant, attempts = number(was[3]), number(was[10])
if not was[1] then
  redis.call('ZREM', due, id)
  return {'absent', request}
end
if owner ~= '' and owner ~= was[1] then return {'absent', request} end
local whole = was[2] and grant and (was[5] or was[2] ~= 'active') and fence
  and (next_at or not was[7]) and attempts and attempts < 2 ^ 32
  and was[4] and was[4]:match('^[a-z0-9-]+$')
  and #was[1] == 32 and was[1]:match('^[0-9a-f]+$')
  and (not token or #token == 32 and token:match('^[0-9a-f]+$'))
if not whole then return {'corrupt', request} end
if was[2] ~= 'active' then
  redis.call('ZREM', due, id)
  return {'inactive', request, was[2]}
end
if not token or not next_at then
  redis.call('ZREM', due, id)
  return {'not_refreshable', request}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leased = (tonumber(was[9]) or 0) - now
-- No lease is that long: the clock of Redis has jumped back.
if leased > 60000 then leased = 0 end
local mine = was[8] == request and leased > 0
if leased > 0 and not mine then return {'held', request, leased} end
if not mine and next_at > now then
  redis.call('ZADD', due, was[7], id)
  return {'not_due', request, next_at - now, attempts}
end

-- The first presentation of a refresh token counts: a provider's grace begins there. A retry by
-- the attempt that made it is told what the first call was.
local undecided = -1
if was[12] == token and not (mine and was[14] == was[11]) then
  undecided = math.max(0, now - (tonumber(was[13]) or 0))
end
if not mine and undecided >= forgiven and undecided < settled then
  redis.call('ZADD', due, string.format('%d', now + settled - undecided), id)
  return {'undecided', request, settled - undecided}
end
if not mine then
  fence = fence + 1
  local ends = string.format('%d', now + lease)
  redis.call('HSET', conn, 'fence', fence, 'lease', request, 'lease_by', instance,
    'lease_ends_at', ends, 'att_fence', fence, 'att_token', token)
  if undecided == -1 then
    redis.call('HSET', conn, 'att_at', string.format('%d', now), 'att_first', fence)
  end
  redis.call('ZADD', due, ends, id)
end
return {'begun', request, fence, grant, was[4], was[5], token, attempts, undecided, was[1]}
