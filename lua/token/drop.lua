#!lua flags=allow-oom
-- drop: end all tokens of a resource, by dropping the index that makes them valid.
--
-- KEYS[1]  index     ZSET    {xx}:tokens:<name>, digests of tokens by expiry
-- KEYS[2]  scope     ZSET    {xx}:scope:<scope digest>, names of indexes by latest expiry
-- KEYS[3]  receipt   STRING  {xx}:rcpt:<request digest>, how many this request has ended
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  name      of the index, in hexadecimal
-- ARGV[3]  grace     ms a receipt lives
--
-- Returns  {"dropped", request, count}   how many lived; also on a retry with the same request id
--
-- Why Lua: counted and ended as one; and a retry must return what the first call counted.
local index, scope, receipt = KEYS[1], KEYS[2], KEYS[3]
local request, name, grace = ARGV[1], ARGV[2], ARGV[3]
-- include: rights/must

local before = redis.call('GET', receipt)
if before then return {'dropped', request, tonumber(before)} end
redis.call('ZSCORE', scope, name)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = redis.call('ZCOUNT', index, string.format('%d', now + 1), '+inf')

must_be_allowed('SET', receipt)
redis.call('ZREM', scope, name)
redis.call('UNLINK', index)
-- The receipt last: with it a retry takes all the rest for done.
redis.call('SET', receipt, count, 'PX', grace)
return {'dropped', request, count}
