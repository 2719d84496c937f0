import unittest

from greeter import greeting


class GreetingTest(unittest.TestCase):
    def test_it_greets_who_is_named(self) -> None:
        self.assertEqual(greeting("ada"), "Hello, ada!")

    def test_it_greets_the_world_when_nobody_is_named(self) -> None:
        self.assertEqual(greeting("  "), "Hello, world!")
