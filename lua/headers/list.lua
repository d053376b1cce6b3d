#!lua flags=no-writes
-- list: a page of a client's header credentials in a shard, by creation, without their secrets.
--
-- KEYS[1]  clients   ZSET  {xx}:client:<digest of client>, ids by creation
-- ARGV[1]  request   32 hex, for the echo
-- ARGV[2]  limit     at most so many, 1 to 100
-- ARGV[3]  from      ms since 1970 that the page before had reached; 0 for the first
-- ARGV[4]  after     the last id of the page before; empty for the first
--
-- Returns  {"page", request, {id, created, {field, …}, id, …}}   no fields: it is no hash
--
-- Why Lua: a page goes on behind the last id, which may be gone meanwhile: then at its time. And the
-- records come along, in one round trip.
local clients = KEYS[1]
local request, limit, from, after = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local rank = after ~= '' and redis.call('ZRANK', clients, after)
local page
if rank then
  page = redis.call('ZRANGE', clients, rank + 1, rank + limit, 'WITHSCORES')
else
  page = redis.call('ZRANGEBYSCORE', clients, from, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
end
local records, rows = clients:match('^(.*:{%x%x}:)') .. 'headers:', {}
for at = 1, #page, 2 do
  local row = redis.pcall('HMGET', records .. page[at], 'status', 'reason', 'status_at', 'was',
    'mode', 'identity', 'client', 'name', 'binding', 'created_at', 'updated_at', 'ver')
  -- One that is damaged hides no others.
  if row.err and not row.err:find('^WRONGTYPE') then return row end
  rows[#rows + 1] = page[at]
  rows[#rows + 1] = page[at + 1]
  rows[#rows + 1] = row.err and {} or row
end
return {'page', request, rows}
