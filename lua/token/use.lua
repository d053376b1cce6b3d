#!lua flags=allow-oom
-- use: count one use of a token that is good for so many.
--
-- KEYS[1]  record    STRING  {xx}:token:<digest>
-- KEYS[2]  index     ZSET    {xx}:tokens:<name>, digests of tokens by expiry
-- KEYS[3]  uses      ZSET    {xx}:uses:<digest>, the requests that were counted, by time
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  digest    of the token, in hexadecimal
-- ARGV[3]  use       the request, in hexadecimal
-- ARGV[4]  limit     how many uses it is good for
-- ARGV[5]  grace     ms a live record has more than, to its end
--
-- Returns  {"used", request, left}   and how many uses are left; a retry is not counted again
--          {"used_up", request}
--          {"revoked", request}      by itself
--          {"dropped", request}      with all others of its resource or its scope
--          {"expired", request}
--          {"absent", request}
--          {"corrupt", request}      not a record of this layout; left as it is
--
-- Why Lua: counting and comparing are one, or two requests share the last use; and the token that
-- was read as live may be revoked meanwhile.
local record, index, uses = KEYS[1], KEYS[2], KEYS[3]
local request, digest, use = ARGV[1], ARGV[2], ARGV[3]
local limit, grace = tonumber(ARGV[4]), tonumber(ARGV[5])

local head, length = redis.call('GETRANGE', record, 0, 58), redis.call('STRLEN', record)
local member = redis.call('ZSCORE', index, digest)
local counted = redis.call('ZSCORE', uses, use)
local left = redis.call('PTTL', record)
if left == -2 then return {'absent', request} end
local offset = head:sub(1, 3) == 'v1 ' and tonumber(head:sub(56, 59))
if not offset or length < offset + 48 then return {'corrupt', request} end
if head:sub(4, 12) ~= 'live     ' then return {'revoked', request} end
if not member then return {'dropped', request} end
if left <= grace then return {'expired', request} end

local used = redis.call('ZCARD', uses)
if not counted then
  if used >= limit then return {'used_up', request} end
  local time = redis.call('TIME')
  redis.call('ZADD', uses, string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000)), use)
  used = used + 1
end
redis.call('PEXPIRE', uses, left) -- on a retry too, in case the first call could not
return {'used', request, math.max(limit - used, 0)}
