#!lua
-- mint: a token, and the entries that make it valid and let it be revoked.
--
-- KEYS[1]  record    STRING  {xx}:token:<digest>
-- KEYS[2]  index     ZSET    {xx}:tokens:<name>, digests of tokens by expiry
-- KEYS[3]  scope     ZSET    {xx}:scope:<scope digest>, names of indexes by latest expiry
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  digest    of the token, in hexadecimal
-- ARGV[3]  name      of the index, in hexadecimal
-- ARGV[4]  value     the whole record
-- ARGV[5]  ttl       ms it lives
-- ARGV[6]  grace     ms a tombstone lives
--
-- Returns  {"minted", request, ms}   and what is left of its life; also on a retry
--          {"collision", request}    another request's record has this name
--
-- Why Lua: the record and its entries come together; and a retry finds its record and adds no entry,
-- or what was revoked meanwhile would live again.
local record, index, scope = KEYS[1], KEYS[2], KEYS[3]
local request, digest, name, value = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ttl, grace = tonumber(ARGV[5]), tonumber(ARGV[6])

local there = redis.call('GET', record)
redis.call('ZSCORE', index, digest)
redis.call('ZSCORE', scope, name)
if there then
  local offset = tonumber(there:sub(56, 59)) or 0
  if there:sub(offset + 1, offset + 16) ~= request then return {'collision', request} end
  return {'minted', request, math.max(redis.call('PTTL', record) - grace, 0)}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Some of what is past its grace; the rest goes with the key itself. Within its grace a member that
-- has expired is still told from one that was revoked.
for _, key in ipairs({index, scope}) do
  local past = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%d', now - grace),
    'LIMIT', 0, 50)
  if #past > 0 then redis.call('ZREM', key, unpack(past)) end -- at most 50
end
local ends = string.format('%d', now + ttl)
redis.call('ZADD', index, ends, digest)
redis.call('ZADD', scope, 'GT', ends, name)
for _, key in ipairs({index, scope}) do
  -- GT alone never gives a fresh key an end.
  redis.call('PEXPIRE', key, ttl + grace, 'NX')
  redis.call('PEXPIRE', key, ttl + grace, 'GT')
end
-- The record last: with it a retry takes all the rest for done.
redis.call('SET', record, value, 'PX', ttl + grace)
return {'minted', request, ttl}
