#!lua
-- claim: a flow, for the one who checks what was submitted: for so long nobody else may.
--
-- KEYS[1]  flow      STRING  {xx}:pending:<id>
-- KEYS[2]  claim     STRING  {xx}:claim:<id>, who has claimed it
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  lease     ms it is claimed for
-- ARGV[3]  grace     ms a tombstone lives
--
-- Returns  {"claimed", request, record, left}   ms of its life; also on a retry within the lease
--          {"busy", request, ms}                another has claimed it, for so long
--          {"ended", request, how}
--          {"expired", request}
--          {"absent", request}
--          {"corrupt", request}
--
-- Why Lua: only a live one is claimed, by one. A claimer that dies is succeeded when the lease ends.
-- Not allow-oom: on a full Redis nothing new starts.
local flow, claim = KEYS[1], KEYS[2]
local request, lease, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])

local value, holder = redis.call('GET', flow), redis.call('GET', claim)
if not value then return {'absent', request} end
local offset = tonumber(value:sub(56, 59))
if not offset or value:sub(1, 3) ~= 'v1 ' or #value < offset + 48 then return {'corrupt', request} end
local state = value:sub(4, 12):match('^%l+')
if state ~= 'live' then return {'ended', request, state} end
local left = redis.call('PTTL', flow) - grace
if left <= 0 then return {'expired', request} end
if holder and holder ~= request then return {'busy', request, redis.call('PTTL', claim)} end

if not holder then redis.call('SET', claim, request, 'PX', lease) end
return {'claimed', request, value, left}
