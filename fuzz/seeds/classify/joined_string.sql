select 'a'
-- between
'b' as c