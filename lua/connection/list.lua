#!lua flags=no-writes
-- list: a page of an owner's connections, by creation.
--
-- KEYS[1]  owned     ZSET  {xx}:owner:<digest of owner>, ids by creation
-- ARGV[1]  request   32 hex, for the echo
-- ARGV[2]  limit     at most so many, 1 to 100
-- ARGV[3]  from      ms since 1970 that the page before had reached; 0 for the first
-- ARGV[4]  after     the last id of the page before; empty for the first
--
-- Returns  {"page", request, {id, …}, created}   created: ms, of the last one; empty without one
--
-- Why Lua: a page goes on behind the last id, which may be gone meanwhile: then at its time.
local owned = KEYS[1]
local request, limit, from, after = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local rank = after ~= '' and redis.call('ZRANK', owned, after)
local page
if rank then
  page = redis.call('ZRANGE', owned, rank + 1, rank + limit)
else
  page = redis.call('ZRANGEBYSCORE', owned, from, '+inf', 'LIMIT', 0, limit)
end
return {'page', request, page, #page > 0 and redis.call('ZSCORE', owned, page[#page]) or ''}
