-- Adds up what the processes counted.
-- ARGV: worker and the number of its message (an old one is not counted again), then per name
-- (a JSON list) COUNTS counts. Without any it only tells.
-- Reply: {field, sum, ...}; a field is the name with the count's place at its end.
local COUNTS = 5
local MOST = 100000 -- fields: 20,000 names. Names of models come from callers
local SAID_MS = 86400000
local totals, said = SPACE .. 'counts', SPACE .. 'said:' .. (ARGV[1] or '')

-- What a command says; nil where it fails for what stands there. Else the script fails with it.
local function said_of(reply, fault)
  if type(reply) ~= 'table' then
    return reply
  end
  if not string.find(reply.err, fault) then
    error(reply.err)
  end
end

local held = said_of(redis.pcall('HLEN', totals), 'WRONGTYPE')
if not held then
  redis.call('DEL', totals)
  held = 0
end

-- Where there are too many, what is new counts among all further models of its key.
local function field_of(name, place)
  local field = string.sub(name, 1, -2) .. ', ' .. place .. ']'
  if held >= MOST and redis.call('HEXISTS', totals, field) == 0 then
    return string.match(name, '^(.*, )"') .. '"(others)", ' .. place .. ']'
  end
  return field
end

if ARGV[1] and tonumber(ARGV[2]) > (tonumber(value_of(said) or 0) or 0) then
  for at = 3, #ARGV, COUNTS + 1 do
    for place = 1, COUNTS do
      if ARGV[at + place] ~= '0' then -- what is no number stays as it is
        local field = field_of(ARGV[at], place - 1)
        said_of(redis.pcall('HINCRBY', totals, field, ARGV[at + place]), 'not an integer')
      end
    end
  end
  redis.call('SET', said, ARGV[2], 'PX', SAID_MS)
  redis.call('PEXPIRE', totals, SHARED_MS)
end
return ARGV[1] and {} or redis.call('HGETALL', totals)
