#!lua flags=allow-oom
-- drop_scope: end all tokens of a page of a scope's resources, in one shard.
--
-- KEYS[1]  scope     ZSET    {xx}:scope:<scope digest>, names of indexes by latest expiry
-- KEYS[2]  receipt   STRING  {xx}:rcpt:<request digest>, what this request has answered
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  limit     at most so many indexes, 1 to 50
-- ARGV[3]  grace     ms a receipt lives
--
-- Returns  {"dropped", request, resources, tokens, more}   how many of each had live ones; more: 1
--                                                          if the scope has other resources here
--
-- Why Lua: counted and ended as one; and a retry must return what the first call counted.
local scope, receipt = KEYS[1], KEYS[2]
local request, limit, grace = ARGV[1], tonumber(ARGV[2]), ARGV[3]
-- include: rights/must
-- The scope's indexes are named as it is, in the same slot.
local indexes = scope:match('^(.*:{%x%x}:)') .. 'tokens:'

local before = redis.call('GET', receipt)
if before then
  local resources, tokens, more = before:match('^(%d+) (%d+) (%d+)$')
  return {'dropped', request, tonumber(resources), tonumber(tokens), tonumber(more)}
end
local names = redis.call('ZRANGE', scope, 0, limit - 1)
if #names == 0 then return {'dropped', request, 0, 0, 0} end
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000) + 1)
-- All are read before any is dropped; a key of another type fails the script here.
local keys, resources, tokens = {}, 0, 0
for at, name in ipairs(names) do
  keys[at] = indexes .. name
  local live = redis.call('ZCOUNT', keys[at], now, '+inf')
  resources, tokens = resources + math.min(live, 1), tokens + live
end
local more = redis.call('ZCARD', scope) > #names and 1 or 0

must_be_allowed('ZREM', scope)
must_be_allowed('SET', receipt)
redis.call('UNLINK', unpack(keys)) -- at most 50
redis.call('ZREM', scope, unpack(names))
-- The receipt last: with it a retry takes all the rest for done.
redis.call('SET', receipt, resources .. ' ' .. tokens .. ' ' .. more, 'PX', grace)
return {'dropped', request, resources, tokens, more}
