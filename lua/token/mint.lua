#!lua
-- mint: a token, and the entries that make it valid and let it be revoked.
--
-- KEYS[1]  record    STRING  {xx}:token:<digest>
-- KEYS[2]  index     ZSET    {xx}:tokens:<name>, digests of tokens by expiry
-- KEYS[3]  scope     ZSET    {xx}:scope:<scope digest>, names of indexes by latest expiry
-- KEYS[4]  receipt   STRING  {xx}:rcpt:<digest>, for retries; the record again, if there is none
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  digest    of the token, in hexadecimal
-- ARGV[3]  name      of the index, in hexadecimal
-- ARGV[4]  value     the whole record
-- ARGV[5]  ttl       ms it lives
-- ARGV[6]  grace     ms a tombstone or a receipt lives
-- ARGV[7]  kept      the whole receipt: the digest, then the sealed text; empty, if there is none
--
-- Returns  {"minted", request, ms}           and what is left of its life
--          {"retried", request, ms, kept}    what a mint with this receipt has left behind
--          {"collision", request}            another request's record has this name
--          {"corrupt", request}              its place holds no record of this layout
--
-- Why Lua: record, entries and receipt come together; and a retry finds its own and adds no entry, or
-- what was revoked meanwhile would live again.
local record, index, scope, receipt = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local request, digest, name, value = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ttl, grace, kept = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

local before = receipt ~= record and redis.call('GET', receipt)
if before then
  -- The other token's record is this one's with another digest, in the same slot.
  local left = redis.call('PTTL', record:sub(1, #record - #digest) .. before:sub(1, #digest))
  return {'retried', request, math.max(left - grace, 0), before}
end
local there = redis.call('GET', record)
redis.call('ZSCORE', index, digest)
redis.call('ZSCORE', scope, name)
if there then
  local offset = there:sub(1, 3) == 'v1 ' and tonumber(there:sub(56, 59))
  if not offset or #there < offset + 48 then return {'corrupt', request} end
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
redis.call('SET', record, value, 'PX', ttl + grace)
-- The receipt last: with it a retry takes all the rest for done.
if receipt ~= record then redis.call('SET', receipt, kept, 'PX', grace) end
return {'minted', request, ttl}
