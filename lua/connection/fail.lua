#!lua flags=allow-oom
-- fail: record a failed exchange, judged by its fence.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  fence     of the attempt
-- ARGV[4]  grant     that the attempt began under
-- ARGV[5]  presented 32 hex, digest of the refresh token that was presented
-- ARGV[6]  kind      transient | undecided | needs_reauth
-- ARGV[7]  reason    sanitised, at most 200 characters
-- ARGV[8]  backoff   ms until the next try
--
-- Returns  {"recorded", request, attempts}   also on a retry with the same request id
--          {"stale", request}                a newer attempt, grant or secret judges
--          {"gone", request}
--
-- Why Lua: a verdict on an old attempt must never condemn what a newer one has saved.
local conn, due = KEYS[1], KEYS[2]
local request, id, fence, grant, presented = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local kind, reason, backoff = ARGV[6], ARGV[7], tonumber(ARGV[8])

local was = redis.call('HMGET', conn, 'status', 'grant', 'att_fence', 'token', 'attempts', 'failed',
  'lease')
redis.call('ZSCORE', due, id)
if not was[1] then return {'gone', request} end
local attempts = tonumber(was[5]) or 0
if was[6] == request then return {'recorded', request, attempts} end
local current = was[2] == grant and was[3] == fence and was[4] == presented
-- An attempt without a lease has been decided before: by its own commit, or by another fail.
if was[1] ~= 'active' or not current or not was[7] then return {'stale', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)

-- The index first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest. Not HINCRBY: it could fail on what it finds.
attempts = attempts + 1
local drop = {'lease', 'lease_by', 'lease_ends_at'}
local set = {'attempts', attempts, 'failed', request, 'last_error', reason, 'error_at', stamp,
  'updated_at', stamp}
if kind == 'needs_reauth' then
  redis.call('ZREM', due, id)
  redis.call('HSET', conn, 'status', 'needs_reauth', 'reason', reason, 'status_at', stamp,
    unpack(set)) -- 16
  drop[#drop + 1] = 'next_at'
else
  local next_at = string.format('%d', now + backoff)
  redis.call('ZADD', due, next_at, id)
  redis.call('HSET', conn, 'next_at', next_at, unpack(set)) -- 12
end
redis.call('HDEL', conn, unpack(drop)) -- at most 4
-- A lost answer leaves the attempt on record: whoever begins next must know.
if kind ~= 'undecided' then
  redis.call('HDEL', conn, 'att_token', 'att_fence', 'att_first', 'att_at')
end
return {'recorded', request, attempts}
