from lengthwise.data.tasks.table import PAGE, markdown, page_with


def test_the_page_has_the_table_of_the_registry():
    page = PAGE.read_text("utf-8")
    assert page == page_with(markdown(), page), "run: python -m lengthwise.data.tasks.table"
