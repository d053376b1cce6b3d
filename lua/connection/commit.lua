#!lua flags=allow-oom
-- commit: store what the provider answered, judged by grant and lineage.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- ARGV[1]  request   32 hex, digest of the commit's request id
-- ARGV[2]  id        the connection
-- ARGV[3]  fence     of the attempt
-- ARGV[4]  grant     that the attempt began under
-- ARGV[5]  presented 32 hex, digest of the refresh token that was presented
-- ARGV[6]  secret    sealed
-- ARGV[7]  token     32 hex, digest of the new refresh token; empty: none
-- ARGV[8]  expires   ms the access token lives; empty: undisclosed
-- ARGV[9]  next      ms until the next refresh; empty: never
-- ARGV[10] answered  ms since the exchange that brought it began: what began later is later
--
-- Returns  {"committed", request, ver, recovered}   recovered: 1 if it was not active
--          {"withdrawn", request, ver}   stored, and still an orphan: nobody may have it
--          {"already", request, ver}   this very commit, however late; the current ver
--          {"alt", request}            a sibling is current; this is kept beside it
--          {"superseded", request}     another answer is current
--          {"refused", request}        the grant changed: perhaps another account's secret
--          {"gone", request}
--
-- Why Lua: judging and storing must be one step, or a rotated token is overwritten by an older one.
local conn, due = KEYS[1], KEYS[2]
local request, id, fence, grant, presented = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local token, expires, next_in = ARGV[7] ~= '' and ARGV[7], ARGV[8], ARGV[9]

local was = redis.call('HMGET', conn, 'status', 'grant', 'committed', 'ver', 'base', 'refused',
  'next_at', 'att_fence', 'secret', 'token', 'expires_at', 'answered_at', 'alt_secret', 'alt_token',
  'alt_expires_at', 'alt_answered_at', 'alt2_secret', 'alt2_token', 'alt2_expires_at',
  'alt2_answered_at', 'was')
redis.call('ZSCORE', due, id)
if not was[1] then return {'gone', request} end
-- An orphan is judged as what it was, and stays one.
local status = was[1] == 'orphaned' and was[21] or was[1]
local active, dead, orphan = status == 'active', status == 'needs_reauth', was[1] == 'orphaned'
local ver, refused = tonumber(was[4]) or 0, was[6] or ''
if was[3] and was[3]:find(request, 1, true) then return {'already', request, ver} end
if was[2] ~= grant then return {'refused', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)
local new = {ARGV[6], token, expires ~= '' and string.format('%d', now + expires), now - ARGV[10]}

-- What is held: the current answer, then its siblings. Accepted whatever the fence says is an
-- answer to the token of any of them, or to one that another attempt was refused with: it is the
-- freshest there is, and throwing a rotated token away bricks the account.
local held, proven, place, kept = {}, refused:find(presented, 1, true), 1, {}
for at = 9, 17, 4 do
  if at == 9 or was[at] then
    held[#held + 1] = {was[at], was[at + 1], was[at + 2], tonumber(was[at + 3]) or 0}
    proven = proven or was[at + 1] == presented
  end
end
if proven then
  -- Not rotated: of two access tokens the later is current.
  if token == held[1][2] and new[4] <= held[1][4] then return {'superseded', request} end
elseif was[5] ~= presented or refused:find(token or presented, 1, true) then
  return {'superseded', request}
elseif not dead then
  -- A sibling: nobody knows which of them lives. The later one is the better guess.
  for _, other in ipairs(held) do
    local same = other[2] == token
    if same and other[4] >= new[4] then return {'superseded', request} end
    if other[2] and not same then kept[#kept + 1] = other end
  end
  while kept[place] and kept[place][4] >= new[4] do place = place + 1 end
  if place > 3 or place > 1 and not token then return {'superseded', request} end
end
table.insert(kept, place, new)

-- Told first: nobody reads before this is done, and a missing right fails here.
if place == 1 then redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id) end
-- The index first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest. Not HINCRBY: it could fail on what it finds.
local next_at, decided = was[7], was[8] == fence
if place == 1 then
  next_at = next_in ~= '' and string.format('%d', now + next_in)
  -- A sibling of what is dead: proven by using it, at once.
  if dead and not proven then next_at = stamp end
end
local waits = next_at and not orphan
if waits and (place == 1 or decided) then redis.call('ZADD', due, next_at, id) end
if place == 1 and not waits then redis.call('ZREM', due, id) end
-- The last four receipts, so that a late retry does not find its own overwritten.
local set, drop = {'committed', request .. ' ' .. (was[3] or ''):sub(1, 98), 'updated_at', stamp}, {}
local function put(field, value)
  local list = value and set or drop
  list[#list + 1] = field
  if value then list[#list + 1] = value end
end
for at, prefix in ipairs({'', 'alt_', 'alt2_'}) do
  local answer = kept[at] or {}
  put(prefix .. 'secret', answer[1])
  put(prefix .. 'token', answer[2])
  put(prefix .. 'expires_at', answer[3])
  put(prefix .. 'answered_at', answer[4] and string.format('%d', answer[4]))
end
if place == 1 then
  put(orphan and 'was' or 'status', 'active')
  for field, value in pairs({ver = ver + 1, base = presented, attempts = 0}) do put(field, value) end
  put('next_at', next_at)
  put(orphan and 'was_reason' or 'reason', false)
  for _, field in ipairs({'last_error', 'error_at', 'failing_at'}) do put(field, false) end
  if not active and not orphan then put('status_at', stamp) end
  if proven then put('refused', false) end
end
if decided then
  for _, field in ipairs({'lease', 'lease_by', 'lease_ends_at', 'att_token', 'att_fence',
    'att_first', 'att_at'}) do put(field, false) end
end
redis.call('HSET', conn, unpack(set)) -- at most 42
if #drop > 0 then redis.call('HDEL', conn, unpack(drop)) end -- at most 24
if place > 1 then return {'alt', request} end
if orphan then return {'withdrawn', request, ver + 1} end
return {'committed', request, ver + 1, active and 0 or 1}
