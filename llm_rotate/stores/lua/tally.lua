-- Adds up what the processes counted.
-- ARGV: worker and the number of its message (an old one is not counted again), then per name
-- (a JSON list) COUNTS counts. Without any it only tells.
-- Reply: {field, sum, ...}; a field is the name with the count's place at its end.
local COUNTS = 5
local MOST = 100000 -- fields: 20,000 names. Names of models come from callers
local SAID_MS = 86400000
local totals, said = SPACE .. 'counts', SPACE .. 'said:' .. (ARGV[1] or '')
local held = redis.pcall('HLEN', totals)
if type(held) == 'table' then
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
  redis.call('SET', said, ARGV[2], 'PX', SAID_MS)
  for at = 3, #ARGV, COUNTS + 1 do
    for place = 1, COUNTS do
      if ARGV[at + place] ~= '0' then -- pcall: what is no number stays as it is
        redis.pcall('HINCRBY', totals, field_of(ARGV[at], place - 1), ARGV[at + place])
      end
    end
  end
  redis.call('PEXPIRE', totals, SHARED_MS)
end
return ARGV[1] and {} or redis.call('HGETALL', totals)
