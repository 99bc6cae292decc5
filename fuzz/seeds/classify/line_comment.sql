-- select update t set x = 1
select 1