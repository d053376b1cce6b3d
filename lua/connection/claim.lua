#!lua
-- claim: take due connections off the index for a while.
--
-- KEYS[1]  due       ZSET    {xx}:due, ids by next_at
-- KEYS[2]  receipt   STRING  {xx}:rcpt:<request digest>, the ids that this request got
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  limit     at most so many, 1 to 100
-- ARGV[3]  hide      ms until the claimed are due again
-- ARGV[4]  grace     ms the receipt lives
--
-- Returns  {"claimed", request, id...}   none, if nothing is due
--
-- Why Lua: reading what is due and hiding it must be one step, or two replicas get the same ids.
local due, receipt = KEYS[1], KEYS[2]
local request, limit, hide, grace = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
-- include: rights/must

local reply = {'claimed', request}
local before = redis.call('GET', receipt)
if before then
  for id in before:gmatch('%S+') do reply[#reply + 1] = id end
  return reply
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%d', now), 'LIMIT', 0, limit)
if #ids == 0 then return reply end

local hidden = {}
local until_then = string.format('%d', now + hide)
for _, id in ipairs(ids) do
  hidden[#hidden + 1] = until_then
  hidden[#hidden + 1] = id
  reply[#reply + 1] = id
end
must_be_allowed('SET', receipt)
redis.call('ZADD', due, unpack(hidden)) -- at most 200 values: the limit is 100
redis.call('SET', receipt, table.concat(ids, ' '), 'PX', grace)
return reply
