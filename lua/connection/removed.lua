-- removed: what is left of a connection that goes. A part of scripts, not one.
--
-- All that is known of it goes, and receipts stay for a while. What was on its way to the record must
-- find that it is gone, and stay away: a retried store finds its receipt, and what is stored anew
-- under the id has another grant than before.
local RECEIPTS = {'stored', 'revoked', 'fence', 'withdrawn', 'restored'}

-- By their names; and whether the indexes are what they should be.
local function look(conn, indexes, id)
  local fields = {'owner', 'status', 'status_at', 'grant', 'deleted', 'connector', unpack(RECEIPTS)}
  local found, was = redis.call('HMGET', conn, unpack(fields)), {}
  for n, field in ipairs(fields) do was[field] = found[n] end
  redis.call('ZSCORE', indexes.owned, id)
  redis.call('ZSCORE', indexes.due, id)
  redis.call('ZSCORE', indexes.orphans, 'conn:' .. id)
  redis.call('ZSCORE', indexes.sealed, 'conn:' .. id)
  return was
end

local function unlist(indexes, id)
  redis.call('ZREM', indexes.owned, id)
  redis.call('ZREM', indexes.due, id)
  redis.call('ZREM', indexes.orphans, 'conn:' .. id)
end

local function remove(conn, indexes, id, was, request, stamp, grace)
  -- All rights first: the next sweep would not find what is half gone.
  must_be_allowed('ZREM', indexes.owned, indexes.due, indexes.orphans, indexes.sealed)
  must_be_allowed('UNLINK', conn)
  must_be_allowed('HSET', conn)
  must_be_allowed('PEXPIRE', conn)
  -- Told first: nobody reads before this is done, and a missing right fails here.
  redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id)
  unlist(indexes, id)
  redis.call('ZREM', indexes.sealed, 'conn:' .. id, 'alt:' .. id, 'alt2:' .. id)
  redis.call('UNLINK', conn)
  local left = {'deleted', request, 'deleted_at', stamp, 'last_grant', (tonumber(was.grant) or 0) + 1}
  for _, field in ipairs(RECEIPTS) do
    if was[field] then
      left[#left + 1] = field
      left[#left + 1] = was[field]
    end
  end
  redis.call('HSET', conn, unpack(left)) -- at most 16
  redis.call('PEXPIRE', conn, grace)
end
