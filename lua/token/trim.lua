#!lua flags=allow-oom
-- trim: take what ended long enough ago off a page of a scope's indexes, in one shard.
--
-- KEYS[1]  scope     ZSET    {xx}:scope:<scope digest>, names of indexes by latest expiry
-- KEYS[2]  receipt   STRING  {xx}:rcpt:<request digest>, what this request has answered
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  age       ms since the end of what goes; 0: all that has expired
-- ARGV[3]  limit     at most so many indexes, 1 to 50, and ten times as many tokens
-- ARGV[4]  from      ms since 1970 that the page before had reached; 0 for the first
-- ARGV[5]  after     the last index of the page before; empty for the first
-- ARGV[6]  grace     ms a receipt lives
--
-- Returns  {"trimmed", request, count, next, name}   how many tokens went; where the next page
--                                                    begins, or empty if there is none
--
-- Why Lua: a page is counted and taken off as one, and a retry must return what the first counted.
local scope, receipt = KEYS[1], KEYS[2]
local request, age, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local from, after, grace = ARGV[4], ARGV[5], ARGV[6]
-- include: rights/must
-- The scope's indexes are named as it is, in the same slot.
local indexes = scope:match('^(.*:{%x%x}:)') .. 'tokens:'

local before = redis.call('GET', receipt)
if before then
  local count, next, name = before:match('^(%d+) (%d*) (%x*)$')
  return {'trimmed', request, tonumber(count), next, name}
end
local time = redis.call('TIME')
local ended = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000) - age)
-- One whose tokens were added to meanwhile has moved, past others that were not looked at yet.
local stays = after ~= '' and tonumber(redis.call('ZSCORE', scope, after) or 0) == tonumber(from)
local rank = stays and redis.call('ZRANK', scope, after)
local page
if rank then
  page = redis.call('ZRANGE', scope, rank + 1, rank + limit, 'WITHSCORES')
else
  page = redis.call('ZRANGEBYSCORE', scope, from, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
end
-- All are read before any is written. Where the budget ends, the next page begins.
local budget, more, next, name = limit * 10, #page == limit * 2, from, after
local past, over, count = {}, {}, 0
for at = 1, #page, 2 do
  local key = indexes .. page[at]
  local members = redis.call('ZRANGEBYSCORE', key, '-inf', ended, 'LIMIT', 0, budget)
  if #members > 0 then past[key] = members end
  count, budget = count + #members, budget - #members
  if budget == 0 then more = true break end
  next, name = page[at + 1], page[at]
  if tonumber(next) <= tonumber(ended) then over[#over + 1] = name end
end
if not more then next, name = '', '' end

for key in pairs(past) do must_be_allowed('ZREM', key) end
must_be_allowed('ZREM', scope)
must_be_allowed('SET', receipt)
for key, members in pairs(past) do redis.call('ZREM', key, unpack(members)) end -- at most 500
if #over > 0 then redis.call('ZREM', scope, unpack(over)) end -- at most 50
if count > 0 then
  -- The receipt last: with it a retry takes all the rest for done.
  redis.call('SET', receipt, count .. ' ' .. next .. ' ' .. name, 'PX', grace)
end
return {'trimmed', request, count, next, name}
