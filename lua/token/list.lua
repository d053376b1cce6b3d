#!lua flags=no-writes
-- list: a page of a resource's tokens, by the time of their end.
--
-- KEYS[1]  index     ZSET    {xx}:tokens:<name>, digests of tokens by expiry
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  limit     at most so many, 1 to 100
-- ARGV[3]  from      ms since 1970 that the page before had reached; 0 for the first
-- ARGV[4]  after     the last digest of the page before; empty for the first
--
-- Returns  {"page", request, now, digest, end, digest, end, …}   now: ms since 1970
--
-- Why Lua: a page goes on behind the last one, which may be gone meanwhile: then behind its end.
local index = KEYS[1]
local request, limit, from, after = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rank = after ~= '' and redis.call('ZRANK', index, after)
-- What is past its end is not listed, though it stays for its grace.
local page
if rank then
  local past = redis.call('ZCOUNT', index, '-inf', string.format('%d', now))
  local first = math.max(rank + 1, past)
  page = redis.call('ZRANGE', index, first, first + limit - 1, 'WITHSCORES')
else
  local least = math.max(tonumber(from) or 0, now + 1)
  page = redis.call('ZRANGEBYSCORE', index, string.format('%d', least), '+inf', 'WITHSCORES',
    'LIMIT', 0, limit)
end
return {'page', request, now, unpack(page)} -- at most 200
