#!lua flags=no-writes
-- list: a page of a namespace's pendings, by the time of their end.
--
-- KEYS[1]  index     ZSET    {xx}:pendings:<namespace digest>, ids by expiry
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  limit     at most so many, 1 to 100
-- ARGV[3]  from      ms since 1970 that the page before had reached; 0 for the first
-- ARGV[4]  after     the last id of the page before; empty for the first
--
-- Returns  {"page", request, {id, …}, end}   end: ms since 1970, of the last one; empty without one
--
-- Why Lua: a page goes on behind the last id, which may be gone or moved meanwhile: then behind the
-- end that it had.
local index = KEYS[1]
local request, limit, from, after = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- One that was replaced meanwhile has moved, past others that were not listed yet.
local stays = after ~= '' and tonumber(redis.call('ZSCORE', index, after) or 0) == tonumber(from)
local rank = stays and redis.call('ZRANK', index, after)
-- What is past its end is not listed, even where nobody has removed it yet.
local page
if rank then
  local past = redis.call('ZCOUNT', index, '-inf', string.format('%d', now))
  local first = math.max(rank + 1, past)
  page = redis.call('ZRANGE', index, first, first + limit - 1)
else
  local least = math.max(tonumber(from) or 0, now + 1)
  page = redis.call('ZRANGEBYSCORE', index, string.format('%d', least), '+inf', 'LIMIT', 0, limit)
end
-- Only the last one's end is needed, to go on behind it.
return {'page', request, page, #page > 0 and redis.call('ZSCORE', index, page[#page]) or ''}
