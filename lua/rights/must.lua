-- must: what is asked for before the first write. A part of scripts, not one.
--
-- Redis rolls nothing back, and asks for a user's right where it is used: one that is missing for a
-- later write would leave half a change. So a script asks for it while nothing has changed, unless a
-- retry of it does the rest.
local function must_be_allowed(command, ...)
  for _, key in ipairs({...}) do
    if not redis.acl_check_cmd(command, key) then
      error({err = 'NOPERM this user may not ' .. command .. ' all keys that the library writes'})
    end
  end
end
