#!lua flags=allow-oom
-- revoke: end one token, for good.
--
-- KEYS[1]  record    STRING  {xx}:token:<digest>
-- KEYS[2]  index     ZSET    {xx}:tokens:<name>, digests of tokens by expiry
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  digest    of the token, in hexadecimal
-- ARGV[3]  grace     ms a live record has more than, to its end
--
-- Returns  {"revoked", request}   also on a retry with the same request id
--          {"already", request}   somebody else's, by itself or with its resource or scope
--          {"expired", request}
--          {"absent", request}
--          {"corrupt", request}   not a record of this layout; left as it is
--
-- Why Lua: whether it lived is answered by whoever ended it, once.
local record, index = KEYS[1], KEYS[2]
local request, digest, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])

local value = redis.call('GET', record)
local member = redis.call('ZSCORE', index, digest)
if not value then return {'absent', request} end
local offset = tonumber(value:sub(56, 59))
if not offset or value:sub(1, 3) ~= 'v1 ' or #value < offset + 48 then return {'corrupt', request} end

if value:sub(4, 12) ~= 'live     ' then
  if value:sub(offset + 17, offset + 32) ~= request then return {'already', request} end
  redis.call('ZREM', index, digest) -- in case the first try could not
  return {'revoked', request}
end
if not member then return {'already', request} end
local left = redis.call('PTTL', record)
if left <= grace then
  if left == -1 then redis.call('PEXPIRE', record, grace) end
  return {'expired', request}
end

local time = redis.call('TIME')
local now = string.format('%013d', time[1] * 1000 + math.floor(time[2] / 1000))
-- It keeps its life: it is told from one that never was, and its mint, sent again, finds it.
redis.call('SETRANGE', record, 3, 'revoked  ' .. value:sub(13, 40) .. ' ' .. now
  .. value:sub(55, offset + 16) .. request)
redis.call('ZREM', index, digest)
return {'revoked', request}
