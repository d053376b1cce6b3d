#!lua flags=allow-oom
-- mark: a page of a client's header credentials in a shard, as needing their owners' update.
--
-- KEYS[1]  clients   ZSET    {xx}:client:<digest of client>, ids by creation
-- KEYS[2]  receipt   STRING  {xx}:rcpt:<request digest>, what this request was answered
-- KEYS[3]  outbox    STREAM  {xx}:outbox
-- KEYS[4]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  limit     at most so many, 1 to 50
-- ARGV[3]  reason    for people
-- ARGV[4]  from      ms since 1970 that the page before had reached; 0 for the first
-- ARGV[5]  after     the last id of the page before; empty for the first
-- ARGV[6]  grace     ms the receipt lives
--
-- Returns  {"marked", request, count, after, from}   where the next page begins; empty: there is none
--
-- Why Lua: a retry must not mark what was updated since; and an orphan stays one, whatever it will
-- be when it is restored.
local clients, receipt = KEYS[1], KEYS[2]
local request, limit, reason, from, after, grace =
  ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
-- include: event/note

local before = redis.call('GET', receipt)
local rank = after ~= '' and redis.call('ZRANK', clients, after)
local note = teller(KEYS[3], KEYS[4], 'operator', '')
if before then
  local count, id, at = before:match('^(%d+) (%S*) (%S*)$')
  return {'marked', request, tonumber(count), id, at}
end
local page
if rank then
  page = redis.call('ZRANGE', clients, rank + 1, rank + limit)
else
  page = redis.call('ZRANGEBYSCORE', clients, from, '+inf', 'LIMIT', 0, limit)
end
if #page == 0 then return {'marked', request, 0, '', ''} end
local last, at = '', ''
if #page == limit then
  last = page[#page]
  at = redis.call('ZSCORE', clients, last)
end
local records, rows = clients:match('^(.*:{%x%x}:)') .. 'headers:', {}
for n, id in ipairs(page) do
  rows[n] = redis.pcall('HMGET', records .. id, 'status', 'was', 'name', 'identity')
  -- One that is damaged keeps no others from it.
  must_be_allowed('HSET', records .. id)
  if rows[n].err and not rows[n].err:find('^WRONGTYPE') then return rows[n] end
end
must_be_allowed('ZREM', clients)
must_be_allowed('SET', receipt)
-- Told first: nobody reads before this is done, and a missing right fails here. Of all at once:
-- it is rare, and they are many.
redis.call('PUBLISH', clients:match('^[^:]+') .. ':changed', 'headers:*')

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local count = 0
for n, id in ipairs(page) do
  local row = rows[n]
  if row[1] == 'active' then
    redis.call('HSET', records .. id, 'status', 'needs_update', 'reason', reason,
      'status_at', stamp, 'updated_at', stamp)
    note('needs_reauth', {'headers', id, row[3], row[4]}, stamp, words('reason', reason))
    count = count + 1
  elseif row[1] == 'orphaned' and row[2] == 'active' then
    redis.call('HSET', records .. id, 'was', 'needs_update', 'was_reason', reason,
      'updated_at', stamp)
    count = count + 1
  elseif not row.err and not row[1] then
    redis.call('ZREM', clients, id)
  end
end
redis.call('SET', receipt, count .. ' ' .. last .. ' ' .. at, 'PX', grace)
return {'marked', request, count, last, at}
